//! Type check of a condition before it is evaluated: every part has a kind, or the condition is refused.

use std::collections::BTreeMap;
use std::fmt;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr};
use contracts::AttributeName;

use crate::condition::Error;
use crate::subject::{self, ATTRIBUTES, VARIABLES};

/// Deepest tree that may be evaluated: the evaluator recurses on the caller's small stack.
const MAX_DEPTH: usize = 48;
/// The functions of conditions, for messages.
const FUNCTIONS: &str = "contains, startsWith, endsWith, lowerAscii, size, double, int";

/// Type of a part of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Fraction,
    Bool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Whole => "a whole number",
            Self::Fraction => "a fraction",
            Self::Bool => "true or false",
        })
    }
}

impl Kind {
    const fn is_number(self) -> bool {
        matches!(self, Self::Whole | Self::Fraction)
    }

    fn compares_with(self, other: Self) -> bool {
        self == other || (self.is_number() && other.is_number())
    }
}

/// The kind of a whole condition, and of each attribute that it reads.
pub(crate) fn kind_of(expression: &IdedExpr) -> Result<(Kind, BTreeMap<String, Kind>), Error> {
    let mut checker = Checker::default();
    // A bare attribute as the whole condition can only be a boolean.
    checker.settle(expression, Some(Kind::Bool))?;
    let kind = checker.kind(expression, 0)?;
    Ok((kind, checker.attributes))
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::Kind(reason.into()))
}

fn literal_kind(literal: &LiteralValue) -> Result<Kind, Error> {
    match literal {
        LiteralValue::Boolean(_) => Ok(Kind::Bool),
        LiteralValue::Double(_) => Ok(Kind::Fraction),
        LiteralValue::Int(_) => Ok(Kind::Whole),
        LiteralValue::String(_) => Ok(Kind::Text),
        LiteralValue::Null => wrong("there is no null in conditions; an unknown value is \"\", 0 or false"),
        LiteralValue::Bytes(_) | LiteralValue::UInt(_) => {
            wrong("conditions have texts, numbers, true and false; write \"a\" for b\"a\" and 1 for 1u")
        }
    }
}

fn unknown_variable(name: &str) -> Error {
    let known: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    let known = format!("{}, {ATTRIBUTES}NAME", known.join(", "));
    Error::UnknownVariable { name: name.chars().take(64).collect(), known }
}

/// The name of an attribute, where the expression is `attributes.NAME` and no variable has that name.
fn attribute_name(expression: &IdedExpr) -> Option<&str> {
    let Expr::Select(select) = &expression.expr else { return None };
    let Expr::Ident(object) = &select.operand.expr else { return None };
    let is_attribute = format!("{object}.") == ATTRIBUTES && !select.test;
    let has_variable = contracts::Vehicle::NAMES.contains(&select.field.as_str());
    (is_attribute && !has_variable).then_some(select.field.as_str())
}

/// Finds the kind of every part of one condition.
///
/// An attribute's kind is not known before a detection has it, so the condition decides: `attributes.colour == "red"` takes
/// it for a text, everywhere in the condition. Numbers are fractions.
#[derive(Debug, Default)]
struct Checker {
    attributes: BTreeMap<String, Kind>,
}

impl Checker {
    fn kind(&mut self, expression: &IdedExpr, depth: usize) -> Result<Kind, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        match &expression.expr {
            Expr::Literal(literal) => literal_kind(literal),
            Expr::Ident(name) => variable(name),
            Expr::Select(select) => self.selected(expression, select),
            Expr::Call(call) => self.called(call, depth + 1),
            Expr::List(_) => wrong("a list stands only after in, as in label in [\"face\", \"person\"]"),
            Expr::Map(_) | Expr::Struct(_) => wrong("conditions have no maps; write several comparisons"),
            Expr::Comprehension(_) => {
                wrong("conditions have no loops; a condition is evaluated for each detection alone")
            }
            Expr::Unspecified => wrong("a part of the condition is missing"),
        }
    }

    fn selected(&self, expression: &IdedExpr, select: &SelectExpr) -> Result<Kind, Error> {
        if select.test {
            return wrong("has() is not needed: an unknown value is \"\", 0 or false");
        }
        if let Some(name) = attribute_name(expression) {
            return self.attributes.get(name).copied().ok_or_else(|| {
                Error::Kind(format!(
                    "{ATTRIBUTES}{name} may be a text, a number or a boolean; compare it with one, as in \
                     {ATTRIBUTES}{name} == \"red\""
                ))
            });
        }
        match &select.operand.expr {
            Expr::Ident(object) => variable(&format!("{object}.{}", select.field)),
            _ => variable(&format!("….{}", select.field)),
        }
    }

    /// Decides the kind of an attribute that has none yet; anything else is left as it is.
    fn settle(&mut self, expression: &IdedExpr, wanted: Option<Kind>) -> Result<(), Error> {
        let (Some(name), Some(wanted)) = (attribute_name(expression), wanted) else { return Ok(()) };
        if name.parse::<AttributeName>().is_err() {
            return wrong(format!("{ATTRIBUTES}{name} cannot be: names are 1 to 32 of a-z 0-9 _, the first a letter"));
        }
        let kind = if wanted == Kind::Whole { Kind::Fraction } else { wanted };
        self.attributes.entry(name.to_owned()).or_insert(kind);
        Ok(())
    }

    /// Whether the kind of an expression is still open.
    fn is_open(&self, expression: &IdedExpr) -> bool {
        attribute_name(expression).is_some_and(|name| !self.attributes.contains_key(name))
    }

    /// The kinds of expressions that compare with each other: an open one takes the kind of the first that is known.
    fn kinds_alike(&mut self, alike: &[&IdedExpr], wanted: Option<Kind>, depth: usize) -> Result<Vec<Kind>, Error> {
        let mut wanted = wanted;
        let mut kinds = Vec::with_capacity(alike.len());
        for expression in alike {
            let known = if self.is_open(expression) { None } else { Some(self.kind(expression, depth)?) };
            wanted = wanted.or(known);
            kinds.push(known);
        }
        // Each expression is checked once: checking both times would double the work with every level.
        let mut settled = Vec::with_capacity(alike.len());
        for (expression, known) in alike.iter().zip(kinds) {
            settled.push(match known {
                Some(known) => known,
                None => {
                    self.settle(expression, wanted)?;
                    self.kind(expression, depth)?
                }
            });
        }
        Ok(settled)
    }

    fn called(&mut self, call: &CallExpr, depth: usize) -> Result<Kind, Error> {
        let name = call.func_name.as_str();
        if name == "@in" {
            return self.contained(&call.args, depth);
        }
        let wanted = operand_kind(name);
        let target = match call.target.as_deref() {
            Some(target) => self.kinds_alike(&[target], wanted, depth)?.first().copied(),
            None => None,
        };
        let arguments: Vec<&IdedExpr> = call.args.iter().collect();
        let arguments = match (name, arguments.as_slice()) {
            ("_?_:_", [condition, branches @ ..]) => {
                let mut kinds = self.kinds_alike(&[condition], Some(Kind::Bool), depth)?;
                kinds.extend(self.kinds_alike(branches, None, depth)?);
                kinds
            }
            (_, arguments) => self.kinds_alike(arguments, wanted, depth)?,
        };
        call_kind(name, target, &arguments)
    }

    /// `x in [a, b]`: every element must compare with `x`.
    fn contained(&mut self, arguments: &[IdedExpr], depth: usize) -> Result<Kind, Error> {
        let [needle, haystack] = arguments else { return wrong("in reads x in [a, b]") };
        let Expr::List(list) = &haystack.expr else {
            return wrong(
                "after in comes a list, as in label in [\"face\", \"person\"]; for parts of a text use contains",
            );
        };
        let alike: Vec<&IdedExpr> = std::iter::once(needle).chain(&list.elements).collect();
        let kinds = self.kinds_alike(&alike, None, depth)?;
        let [needle, elements @ ..] = kinds.as_slice() else { return Ok(Kind::Bool) };
        match elements.iter().find(|element| !element.compares_with(*needle)) {
            Some(element) => wrong(format!("{needle} cannot be in a list with {element}")),
            None => Ok(Kind::Bool),
        }
    }
}

fn variable(name: &str) -> Result<Kind, Error> {
    subject::find(name).map(|variable| variable.kind).ok_or_else(|| unknown_variable(name))
}

/// The one kind that a function or operator takes, where it takes one.
fn operand_kind(function: &str) -> Option<Kind> {
    match function {
        "_&&_" | "_||_" | "!_" => Some(Kind::Bool),
        "_-_" | "_*_" | "_/_" | "-_" | "double" | "int" => Some(Kind::Fraction),
        "contains" | "startsWith" | "endsWith" | "lowerAscii" | "size" => Some(Kind::Text),
        _ => None,
    }
}

/// The kind of what a call returns.
fn call_kind(name: &str, target: Option<Kind>, arguments: &[Kind]) -> Result<Kind, Error> {
    match (name, target, arguments) {
        ("_&&_" | "_||_", None, [Kind::Bool, Kind::Bool]) | ("!_", None, [Kind::Bool]) => Ok(Kind::Bool),
        ("_?_:_", None, [Kind::Bool, one, other]) if one == other => Ok(*one),
        ("_==_" | "_!=_", None, [left, right]) if left.compares_with(*right) => Ok(Kind::Bool),
        ("_<_" | "_<=_" | "_>_" | "_>=_", None, [left, right]) if left.compares_with(*right) && *left != Kind::Bool => {
            Ok(Kind::Bool)
        }
        ("_+_", None, [Kind::Text, Kind::Text]) => Ok(Kind::Text),
        ("_+_" | "_-_" | "_*_" | "_/_", None, [left, right]) if left == right && left.is_number() => Ok(*left),
        ("_%_", None, [Kind::Whole, Kind::Whole]) => Ok(Kind::Whole),
        ("-_", None, [number]) if number.is_number() => Ok(*number),
        ("contains" | "startsWith" | "endsWith", Some(Kind::Text), [Kind::Text]) => Ok(Kind::Bool),
        ("lowerAscii", Some(Kind::Text), []) => Ok(Kind::Text),
        ("size", None, [Kind::Text]) | ("size", Some(Kind::Text), []) => Ok(Kind::Whole),
        ("double", None, [number]) if number.is_number() => Ok(Kind::Fraction),
        ("int", None, [number]) if number.is_number() => Ok(Kind::Whole),
        (name, target, arguments) => Err(misfit(name, target, arguments)),
    }
}

/// The error for a call whose kinds do not fit.
fn misfit(name: &str, target: Option<Kind>, arguments: &[Kind]) -> Error {
    let operator = name.trim_matches('_');
    let known_function = FUNCTIONS.split(", ").any(|known| known == name);
    match arguments {
        _ if known_function => {
            let of: Vec<String> = target.iter().chain(arguments).map(ToString::to_string).collect();
            Error::Kind(format!(
                "{name} does not work on {}; see the table of functions",
                if of.is_empty() { "nothing".to_owned() } else { of.join(" and ") }
            ))
        }
        _ if operator == name => {
            Error::UnknownFunction { name: name.chars().take(64).collect(), known: FUNCTIONS.to_owned() }
        }
        [left, right] if left.is_number() && right.is_number() && left != right => Error::Kind(format!(
            "{operator} needs both sides whole or both fractions; write 2.0 for 2, or double(year) for year"
        )),
        [one, other] => Error::Kind(format!("{operator} does not work on {one} and {other}")),
        _ => Error::Kind(format!("{operator} does not work on these kinds of values")),
    }
}
