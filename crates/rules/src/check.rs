//! The kind of every part of a condition, found before it is ever evaluated; what has none is refused.

use std::fmt;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr};

use crate::condition::Error;
use crate::facts::VARIABLES;

/// Deepest tree that may be evaluated: the evaluator recurses, on the small stack of whoever calls it.
const MAX_DEPTH: usize = 48;
/// What may be called, for messages.
const FUNCTIONS: &str = "contains, startsWith, endsWith, lowerAscii, size, double, int";

/// What a part of a condition evaluates to.
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

/// The kind of a whole condition.
pub(crate) fn kind_of(expression: &IdedExpr) -> Result<Kind, Error> {
    kind(expression, 0)
}

fn kind(expression: &IdedExpr, depth: usize) -> Result<Kind, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::TooDeep);
    }
    match &expression.expr {
        Expr::Literal(literal) => literal_kind(literal),
        Expr::Ident(name) => variable(name),
        Expr::Select(select) => selected(select),
        Expr::Call(call) => called(call, depth + 1),
        Expr::List(_) => wrong("a list stands only after in, as in label in [\"face\", \"person\"]"),
        Expr::Map(_) | Expr::Struct(_) => wrong("conditions have no maps; write several comparisons"),
        Expr::Comprehension(_) => wrong("conditions have no loops; a condition looks at one detection at a time"),
        Expr::Unspecified => wrong("a part of the condition is missing"),
    }
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
        LiteralValue::Null => wrong("there is no null in conditions; what is unknown is \"\" or 0"),
        LiteralValue::Bytes(_) | LiteralValue::UInt(_) => {
            wrong("conditions have texts, numbers, true and false; write \"a\" for b\"a\" and 1 for 1u")
        }
    }
}

fn variable(name: &str) -> Result<Kind, Error> {
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
        let known: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        Error::UnknownVariable { name: name.chars().take(64).collect(), known: known.join(", ") }
    })
}

fn selected(select: &SelectExpr) -> Result<Kind, Error> {
    if select.test {
        return wrong("has() is not needed: what is unknown is \"\" or 0");
    }
    match &select.operand.expr {
        Expr::Ident(name) => variable(&format!("{name}.{}", select.field)),
        _ => variable(&format!("….{}", select.field)),
    }
}

fn called(call: &CallExpr, depth: usize) -> Result<Kind, Error> {
    let target = call.target.as_deref().map(|target| kind(target, depth)).transpose()?;
    if call.func_name == "@in" {
        return contained(&call.args, depth);
    }
    let arguments: Vec<Kind> = call.args.iter().map(|argument| kind(argument, depth)).collect::<Result<_, _>>()?;
    match (call.func_name.as_str(), target, arguments.as_slice()) {
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

/// `x in [a, b]`: every element must compare with `x`.
fn contained(arguments: &[IdedExpr], depth: usize) -> Result<Kind, Error> {
    let [needle, haystack] = arguments else { return wrong("in reads x in [a, b]") };
    let needle = kind(needle, depth)?;
    let Expr::List(list) = &haystack.expr else {
        return wrong("after in comes a list, as in label in [\"face\", \"person\"]; for parts of a text use contains");
    };
    for element in &list.elements {
        let element = kind(element, depth)?;
        if !element.compares_with(needle) {
            return wrong(format!("{needle} cannot be in a list with {element}"));
        }
    }
    Ok(Kind::Bool)
}

/// What to say about a call that has no kind.
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
