//! Type-checks a condition before it is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr};
use contracts::{AttributeName, WatchlistName};

use crate::condition::Error;
use crate::subject::{self, ATTRIBUTES, VARIABLES};
use crate::watchlists::WATCHLIST;

/// Maximum depth of the syntax tree. The evaluator recurses on the caller's stack, which may be small.
const MAX_DEPTH: usize = 48;
/// The functions that conditions may call, for messages.
const FUNCTIONS: &str = "contains, startsWith, endsWith, lowerAscii, size, double, int, watchlist";

/// Type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    Text,
    Whole,
    Fraction,
    Bool,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Whole => "a whole number",
            Self::Fraction => "a fraction",
            Self::Bool => "true or false",
        })
    }
}

impl ValueType {
    const fn is_number(self) -> bool {
        matches!(self, Self::Whole | Self::Fraction)
    }

    fn compares_with(self, other: Self) -> bool {
        self == other || (self.is_number() && other.is_number())
    }
}

/// What a checked condition is and reads.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) value_type: ValueType,
    /// The type of each attribute.
    pub(crate) attributes: BTreeMap<String, ValueType>,
    /// The watchlists that it names.
    pub(crate) watchlists: BTreeSet<WatchlistName>,
}

/// Checks a condition.
pub(crate) fn check(expression: &IdedExpr) -> Result<Checked, Error> {
    let mut checker = Checker::default();
    // A condition that is just an attribute must be boolean.
    checker.infer_attribute(expression, Some(ValueType::Bool))?;
    let value_type = checker.type_of(expression, 0)?;
    Ok(Checked { value_type, attributes: checker.attributes, watchlists: checker.watchlists })
}

fn type_error<T>(reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::Type(reason.into()))
}

fn literal_type(literal: &LiteralValue) -> Result<ValueType, Error> {
    match literal {
        LiteralValue::Boolean(_) => Ok(ValueType::Bool),
        LiteralValue::Double(_) => Ok(ValueType::Fraction),
        LiteralValue::Int(_) => Ok(ValueType::Whole),
        LiteralValue::String(_) => Ok(ValueType::Text),
        LiteralValue::Null => type_error("there is no null in conditions; a missing value is \"\", 0 or false"),
        LiteralValue::Bytes(_) | LiteralValue::UInt(_) => {
            type_error("conditions have texts, numbers, true and false; write \"a\" for b\"a\" and 1 for 1u")
        }
    }
}

fn unknown_variable(name: &str) -> Error {
    let known: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    let known = format!("{}, {ATTRIBUTES}NAME", known.join(", "));
    Error::UnknownVariable { name: name.chars().take(64).collect(), known }
}

/// The name of the attribute if the expression is `attributes.NAME`, except for names that are also variables.
fn attribute_name(expression: &IdedExpr) -> Option<&str> {
    let Expr::Select(select) = &expression.expr else { return None };
    let Expr::Ident(object) = &select.operand.expr else { return None };
    let is_attribute = format!("{object}.") == ATTRIBUTES && !select.test;
    let has_variable = contracts::Vehicle::NAMES.contains(&select.field.as_str());
    (is_attribute && !has_variable).then_some(select.field.as_str())
}

/// Infers the type of every expression in a condition.
///
/// Attributes have no declared type, so their first use decides: `attributes.colour == "red"` makes `attributes.colour` a text in the
/// whole condition. Number attributes are fractions.
#[derive(Debug, Default)]
struct Checker {
    attributes: BTreeMap<String, ValueType>,
    watchlists: BTreeSet<WatchlistName>,
}

impl Checker {
    fn type_of(&mut self, expression: &IdedExpr, depth: usize) -> Result<ValueType, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        match &expression.expr {
            Expr::Literal(literal) => literal_type(literal),
            Expr::Ident(name) => variable(name),
            Expr::Select(select) => self.select(expression, select),
            Expr::Call(call) => self.call(call, depth + 1),
            Expr::List(_) => type_error("a list may only follow in, as in label in [\"face\", \"person\"]"),
            Expr::Map(_) | Expr::Struct(_) => type_error("conditions have no maps; write several comparisons"),
            Expr::Comprehension(_) => {
                type_error("conditions have no loops; a condition is evaluated for each detection alone")
            }
            Expr::Unspecified => type_error("a part of the condition is missing"),
        }
    }

    fn select(&self, expression: &IdedExpr, select: &SelectExpr) -> Result<ValueType, Error> {
        if select.test {
            return type_error("has() is not needed: a missing value is \"\", 0 or false");
        }
        if let Some(name) = attribute_name(expression) {
            return self.attributes.get(name).copied().ok_or_else(|| {
                Error::Type(format!(
                    "{ATTRIBUTES}{name} may be a string, a number or a boolean; compare it with one, as in \
                     {ATTRIBUTES}{name} == \"red\""
                ))
            });
        }
        match &select.operand.expr {
            Expr::Ident(object) => variable(&format!("{object}.{}", select.field)),
            _ => variable(&format!("….{}", select.field)),
        }
    }

    /// Sets the type of an attribute that has none yet. Does nothing for other expressions.
    fn infer_attribute(&mut self, expression: &IdedExpr, expected: Option<ValueType>) -> Result<(), Error> {
        let (Some(name), Some(expected)) = (attribute_name(expression), expected) else { return Ok(()) };
        if name.parse::<AttributeName>().is_err() {
            return type_error(format!(
                "{ATTRIBUTES}{name} is not an attribute: names are 1 to 32 of a-z 0-9 _, the first a letter"
            ));
        }
        let value_type = if expected == ValueType::Whole { ValueType::Fraction } else { expected };
        self.attributes.entry(name.to_owned()).or_insert(value_type);
        Ok(())
    }

    /// Whether the expression is an attribute without a type yet.
    fn is_untyped(&self, expression: &IdedExpr) -> bool {
        attribute_name(expression).is_some_and(|name| !self.attributes.contains_key(name))
    }

    /// The types of expressions that are compared with each other. An untyped attribute gets the
    /// type `expected`, or else that of the first typed expression.
    fn unify(
        &mut self,
        operands: &[&IdedExpr],
        expected: Option<ValueType>,
        depth: usize,
    ) -> Result<Vec<ValueType>, Error> {
        let mut expected = expected;
        let mut known_types = Vec::with_capacity(operands.len());
        for expression in operands {
            let known = if self.is_untyped(expression) { None } else { Some(self.type_of(expression, depth)?) };
            expected = expected.or(known);
            known_types.push(known);
        }
        // Each expression is checked once. Checking twice would double the work at every level of nesting.
        let mut types = Vec::with_capacity(operands.len());
        for (expression, known) in operands.iter().zip(known_types) {
            types.push(match known {
                Some(known) => known,
                None => {
                    self.infer_attribute(expression, expected)?;
                    self.type_of(expression, depth)?
                }
            });
        }
        Ok(types)
    }

    fn call(&mut self, call: &CallExpr, depth: usize) -> Result<ValueType, Error> {
        let name = call.func_name.as_str();
        if name == "@in" {
            return self.in_list(&call.args, depth);
        }
        if name == WATCHLIST {
            return self.watchlist(call);
        }
        let expected = operand_type(name);
        let target = match call.target.as_deref() {
            Some(target) => self.unify(&[target], expected, depth)?.first().copied(),
            None => None,
        };
        let arguments: Vec<&IdedExpr> = call.args.iter().collect();
        let arguments = match (name, arguments.as_slice()) {
            ("_?_:_", [condition, branches @ ..]) => {
                let mut types = self.unify(&[condition], Some(ValueType::Bool), depth)?;
                types.extend(self.unify(branches, None, depth)?);
                types
            }
            (_, arguments) => self.unify(arguments, expected, depth)?,
        };
        call_type(name, target, &arguments)
    }

    /// Checks `watchlist("name")`. The name is a literal, so that it is known which lists a condition needs.
    fn watchlist(&mut self, call: &CallExpr) -> Result<ValueType, Error> {
        let name = match (call.target.as_deref(), call.args.as_slice()) {
            (None, [IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }]) => name.inner(),
            _ => return type_error("watchlist needs the name of one list in quotes, as in watchlist(\"staff\")"),
        };
        let name = name.parse::<WatchlistName>().map_err(|error| Error::Type(error.to_string()))?;
        self.watchlists.insert(name);
        Ok(ValueType::Bool)
    }

    /// Checks `x in [a, b]`: every element must be comparable with `x`.
    fn in_list(&mut self, arguments: &[IdedExpr], depth: usize) -> Result<ValueType, Error> {
        let [needle, haystack] = arguments else { return type_error("in is written x in [a, b]") };
        let Expr::List(list) = &haystack.expr else {
            return type_error(
                "in needs a list, as in label in [\"face\", \"person\"]; for parts of a text use contains",
            );
        };
        let operands: Vec<&IdedExpr> = std::iter::once(needle).chain(&list.elements).collect();
        let types = self.unify(&operands, None, depth)?;
        let [needle, elements @ ..] = types.as_slice() else { return Ok(ValueType::Bool) };
        match elements.iter().find(|element| !element.compares_with(*needle)) {
            Some(element) => type_error(format!("{needle} cannot be in a list with {element}")),
            None => Ok(ValueType::Bool),
        }
    }
}

fn variable(name: &str) -> Result<ValueType, Error> {
    subject::find(name).map(|variable| variable.value_type).ok_or_else(|| unknown_variable(name))
}

/// The type of all operands of a function or operator, if it accepts only one type.
fn operand_type(function: &str) -> Option<ValueType> {
    match function {
        "_&&_" | "_||_" | "!_" => Some(ValueType::Bool),
        "_-_" | "_*_" | "_/_" | "-_" | "double" | "int" => Some(ValueType::Fraction),
        "contains" | "startsWith" | "endsWith" | "lowerAscii" | "size" => Some(ValueType::Text),
        _ => None,
    }
}

/// The type that a call returns.
fn call_type(name: &str, target: Option<ValueType>, arguments: &[ValueType]) -> Result<ValueType, Error> {
    match (name, target, arguments) {
        ("_&&_" | "_||_", None, [ValueType::Bool, ValueType::Bool]) | ("!_", None, [ValueType::Bool]) => {
            Ok(ValueType::Bool)
        }
        ("_?_:_", None, [ValueType::Bool, one, other]) if one == other => Ok(*one),
        ("_==_" | "_!=_", None, [left, right]) if left.compares_with(*right) => Ok(ValueType::Bool),
        ("_<_" | "_<=_" | "_>_" | "_>=_", None, [left, right])
            if left.compares_with(*right) && *left != ValueType::Bool =>
        {
            Ok(ValueType::Bool)
        }
        ("_+_", None, [ValueType::Text, ValueType::Text]) => Ok(ValueType::Text),
        ("_+_" | "_-_" | "_*_" | "_/_", None, [left, right]) if left == right && left.is_number() => Ok(*left),
        ("_%_", None, [ValueType::Whole, ValueType::Whole]) => Ok(ValueType::Whole),
        ("-_", None, [number]) if number.is_number() => Ok(*number),
        ("contains" | "startsWith" | "endsWith", Some(ValueType::Text), [ValueType::Text]) => Ok(ValueType::Bool),
        ("lowerAscii", Some(ValueType::Text), []) => Ok(ValueType::Text),
        ("size", None, [ValueType::Text]) | ("size", Some(ValueType::Text), []) => Ok(ValueType::Whole),
        ("double", None, [number]) if number.is_number() => Ok(ValueType::Fraction),
        ("int", None, [number]) if number.is_number() => Ok(ValueType::Whole),
        (name, target, arguments) => Err(operand_error(name, target, arguments)),
    }
}

/// The error for a call whose operands have the wrong types.
fn operand_error(name: &str, target: Option<ValueType>, arguments: &[ValueType]) -> Error {
    let operator = name.trim_matches('_');
    let known_function = FUNCTIONS.split(", ").any(|known| known == name);
    match arguments {
        _ if known_function => {
            let of: Vec<String> = target.iter().chain(arguments).map(ToString::to_string).collect();
            Error::Type(format!(
                "{name} does not work on {}; see the table of functions in docs/RULES.md",
                if of.is_empty() { "nothing".to_owned() } else { of.join(" and ") }
            ))
        }
        _ if operator == name => {
            Error::UnknownFunction { name: name.chars().take(64).collect(), known: FUNCTIONS.to_owned() }
        }
        [left, right] if left.is_number() && right.is_number() && left != right => Error::Type(format!(
            "{operator} needs both sides whole or both fractions; write 2.0 for 2, or double(year) for year"
        )),
        operands => {
            let types: Vec<String> = operands.iter().map(ToString::to_string).collect();
            Error::Type(format!("{operator} does not work on {}", types.join(" and ")))
        }
    }
}
