//! The cost of a condition: an upper bound of the work of one evaluation, which follows from its text alone.
//!
//! In: a checked expression. Out: a number of steps. A step is the work of one operator, some 50 ns. Conditions
//! have no loops, so each part is evaluated at most once, and the sum over all parts bounds the work. Texts cost by their largest
//! size, because `+` joins texts: without that, a condition of 2 KiB could copy megabytes.
//!
//! The bound does not depend on a clock or on the detection, so a repeated result is evaluated in the same way, and every process
//! that reads a rule finds the same cost.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue};

use crate::check::ValueType;
use crate::subject::{ATTRIBUTES, LONGEST_TEXT, find};
use crate::watchlists::WATCHLIST;

/// Cost of one operator, literal or variable.
const OPERATOR: u64 = 1;
/// Cost of a variable with a dot, such as `box.width`: its name is looked up in parts.
const SELECT: u64 = 3;
/// Cost of a function call.
const FUNCTION: u64 = 4;
/// Cost of looking into a watchlist. The function is made for each evaluation, and the lists have a thousand ids at most.
const LIST: u64 = 12;
/// Cost of an element of a list: the list is built for each evaluation.
const ELEMENT: u64 = 3;
/// Bytes of text that are read or copied in one step.
const BYTES_PER_STEP: u64 = 256;
/// `contains` searches, which takes longer than copying.
const SEARCHED_BYTES_PER_STEP: u64 = 64;

/// The bounds of an expression.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    /// Steps to evaluate it.
    steps: u64,
    /// Size of its value, if that is a text.
    bytes: u64,
}

/// The cost of an expression in steps. The caller has checked its types and its depth.
pub(crate) fn cost_of(expression: &IdedExpr, attributes: &BTreeMap<String, ValueType>) -> u32 {
    u32::try_from(bounds(expression, attributes).steps).unwrap_or(u32::MAX)
}

fn bounds(expression: &IdedExpr, attributes: &BTreeMap<String, ValueType>) -> Bounds {
    let longest = |value_type: Option<ValueType>| match value_type {
        Some(ValueType::Text) => LONGEST_TEXT as u64,
        _ => 0,
    };
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => value(OPERATOR, text.inner().len() as u64),
        Expr::Ident(name) => value(OPERATOR, longest(find(name).map(|variable| variable.value_type))),
        Expr::Select(select) => {
            let vehicle = find(&format!("{ATTRIBUTES}{}", select.field)).map(|variable| variable.value_type);
            value(SELECT, longest(attributes.get(&select.field).copied().or(vehicle)))
        }
        Expr::Call(call) => call_bounds(call, attributes),
        _ => value(OPERATOR, 0),
    }
}

/// A value that is read, with the steps to copy it.
const fn value(steps: u64, bytes: u64) -> Bounds {
    Bounds { steps: steps + bytes / BYTES_PER_STEP, bytes }
}

fn call_bounds(call: &CallExpr, attributes: &BTreeMap<String, ValueType>) -> Bounds {
    let operands = call.target.as_deref().into_iter().chain(&call.args);
    let mut steps = 0;
    let mut sizes = Vec::with_capacity(call.args.len() + 1);
    for operand in operands {
        let bounds = match &operand.expr {
            Expr::List(list) => {
                list.elements.iter().map(|element| element_bounds(element, attributes)).fold(Bounds::default(), sum)
            }
            _ => bounds(operand, attributes),
        };
        steps += bounds.steps;
        sizes.push(bounds.bytes);
    }
    let (all, largest) = (sizes.iter().sum::<u64>(), sizes.iter().copied().max().unwrap_or_default());
    let copied = all / BYTES_PER_STEP;
    let (own, bytes) = match call.func_name.as_str() {
        "_+_" => (OPERATOR + copied, all),
        "_?_:_" => (OPERATOR + copied, largest),
        "lowerAscii" => (FUNCTION + copied, all),
        "contains" => (FUNCTION + all / SEARCHED_BYTES_PER_STEP, 0),
        WATCHLIST => (LIST, 0),
        "startsWith" | "endsWith" | "size" | "double" | "int" => (FUNCTION + copied, 0),
        _ => (OPERATOR + copied, 0),
    };
    Bounds { steps: steps.saturating_add(own), bytes }
}

fn element_bounds(element: &IdedExpr, attributes: &BTreeMap<String, ValueType>) -> Bounds {
    let Bounds { steps, bytes } = bounds(element, attributes);
    Bounds { steps: steps + ELEMENT, bytes }
}

fn sum(one: Bounds, other: Bounds) -> Bounds {
    Bounds { steps: one.steps + other.steps, bytes: one.bytes + other.bytes }
}
