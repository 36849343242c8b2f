//! Makes fixed dimensions of an ONNX file symbolic, so that one file accepts batches and images of any size.
//!
//! No weight and no node changes. The listed dimensions of a graph's inputs and outputs get a name instead of a number. Weights that
//! old exporters also list among the inputs are removed from that list. Otherwise ONNX Runtime assumes that callers replace
//! them and cannot fold them into the layers, and CenterFace needs twice the time.
//!
//! A graph that was exported for one image also has the batch size 1 inside: in the shapes that its `Reshape` nodes produce, and
//! in declarations of inner values. `free_batch` replaces the first and removes the second, which ONNX Runtime infers itself.
//!
//! The code edits the protobuf encoding directly: unknown fields are copied byte for byte, and the result is the same on
//! every machine, so that `models.yaml` can name its hash.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Changes to a fetched file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// SHA-256 of the fetched file, in lower-case hexadecimal.
    pub sha256_before: String,
    /// Dimensions of inputs and outputs, by name: a name makes a dimension symbolic, `null` keeps it.
    pub dimensions: BTreeMap<String, Vec<Option<String>>>,
    /// Whether a batch size of 1 inside the graph is replaced, so that it accepts any batch.
    #[serde(default)]
    pub free_batch: bool,
}

/// Field numbers of `onnx.proto`. Protobuf never reuses them.
mod field {
    pub const MODEL_GRAPH: u64 = 7;
    pub const GRAPH_NODE: u64 = 1;
    pub const GRAPH_INITIALIZER: u64 = 5;
    pub const GRAPH_INPUT: u64 = 11;
    pub const GRAPH_OUTPUT: u64 = 12;
    pub const GRAPH_INNER_VALUE: u64 = 13;
    pub const NODE_INPUT: u64 = 1;
    pub const NODE_OUTPUT: u64 = 2;
    pub const NODE_KIND: u64 = 4;
    pub const NODE_ATTRIBUTE: u64 = 5;
    pub const ATTRIBUTE_TENSOR: u64 = 5;
    pub const TENSOR_INTEGERS: u64 = 7;
    pub const TENSOR_NAME: u64 = 8;
    pub const TENSOR_BYTES: u64 = 9;
    pub const VALUE_NAME: u64 = 1;
    pub const VALUE_TYPE: u64 = 2;
    pub const TYPE_TENSOR: u64 = 1;
    pub const TENSOR_SHAPE: u64 = 2;
    pub const SHAPE_DIMENSION: u64 = 1;
    pub const DIMENSION_NUMBER: u64 = 1;
    pub const DIMENSION_NAME: u64 = 2;
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

impl Rewrite {
    /// The model with symbolic dimensions.
    ///
    /// # Errors
    /// The bytes are not an ONNX model, or an input or output is missing or has another number of dimensions.
    pub fn apply(&self, model: &[u8]) -> Result<Vec<u8>, String> {
        let mut missing: BTreeSet<&str> = self.dimensions.keys().map(String::as_str).collect();
        let rewritten = edit(model, &mut |number, graph| match number {
            field::MODEL_GRAPH => Ok(Edit::Replace(self.graph(graph, &mut missing)?)),
            _ => Ok(Edit::Keep),
        })?;
        match missing.first() {
            None => Ok(rewritten),
            Some(name) => Err(format!("the model has no input or output `{name}`")),
        }
    }

    fn graph(&self, graph: &[u8], missing: &mut BTreeSet<&str>) -> Result<Vec<u8>, String> {
        let mut weights = BTreeSet::new();
        for item in fields(graph) {
            let item = item?;
            if item.number == field::GRAPH_INITIALIZER {
                weights.extend(text_of(item.payload()?, field::TENSOR_NAME)?);
            }
        }
        let shapes = if self.free_batch { reshaped_to(graph)? } else { BTreeSet::new() };
        edit(graph, &mut |number, value| {
            if number == field::GRAPH_INITIALIZER {
                let is_shape = text_of(value, field::TENSOR_NAME)?.is_some_and(|name| shapes.contains(&name));
                return Ok(if is_shape { Edit::Replace(with_any_batch(value)?) } else { Edit::Keep });
            }
            if number == field::GRAPH_NODE && is_constant_of(value, &shapes)? {
                let path = [field::NODE_ATTRIBUTE, field::ATTRIBUTE_TENSOR];
                return edit_at(value, &path, &mut with_any_batch).map(Edit::Replace);
            }
            if number == field::GRAPH_INNER_VALUE && self.free_batch {
                return Ok(Edit::Drop);
            }
            if !matches!(number, field::GRAPH_INPUT | field::GRAPH_OUTPUT) {
                return Ok(Edit::Keep);
            }
            let name = text_of(value, field::VALUE_NAME)?.unwrap_or_default();
            if number == field::GRAPH_INPUT && weights.contains(&name) {
                return Ok(Edit::Drop);
            }
            let Some(names) = self.dimensions.get(&name) else { return Ok(Edit::Keep) };
            missing.remove(name.as_str());
            name_dimensions(value, names).map(Edit::Replace).map_err(|error| format!("`{name}`: {error}"))
        })
    }
}

/// Whether a node is a constant with one of these names. Some exporters write constants as nodes, others as initializers.
fn is_constant_of(node: &[u8], names: &BTreeSet<String>) -> Result<bool, String> {
    let is_constant = text_of(node, field::NODE_KIND)?.as_deref() == Some("Constant");
    Ok(is_constant && text_of(node, field::NODE_OUTPUT)?.is_some_and(|name| names.contains(&name)))
}

/// The names of the constants that `Reshape` nodes take as the shape of their output, their second input.
fn reshaped_to(graph: &[u8]) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for node in fields(graph) {
        let node = node?;
        if node.number != field::GRAPH_NODE || text_of(node.payload()?, field::NODE_KIND)?.as_deref() != Some("Reshape")
        {
            continue;
        }
        let inputs =
            fields(node.payload()?).filter(|item| item.as_ref().is_ok_and(|item| item.number == field::NODE_INPUT));
        if let Some(shape) = inputs.into_iter().nth(1) {
            names.insert(text(shape?.payload()?)?);
        }
    }
    Ok(names)
}

/// A shape whose first number, if it is 1, is replaced by 0. For a `Reshape` that means: as in the input.
fn with_any_batch(shape: &[u8]) -> Result<Vec<u8>, String> {
    edit(shape, &mut |number, numbers| match (number, numbers) {
        // Both encodings of the list of numbers: varints, or eight bytes each.
        (field::TENSOR_INTEGERS, [1, rest @ ..]) => Ok(Edit::Replace([&[0], rest].concat())),
        (field::TENSOR_BYTES, [1, 0, 0, 0, 0, 0, 0, 0, rest @ ..]) => Ok(Edit::Replace([&[0; 8], rest].concat())),
        _ => Ok(Edit::Keep),
    })
}

/// The declaration of a value with named dimensions. Their path is value → type → tensor → shape → dimension.
fn name_dimensions(value: &[u8], names: &[Option<String>]) -> Result<Vec<u8>, String> {
    let mut seen = 0;
    let rewritten = edit_at(value, &[field::VALUE_TYPE, field::TYPE_TENSOR, field::TENSOR_SHAPE], &mut |shape| {
        edit(shape, &mut |number, dimension| {
            if number != field::SHAPE_DIMENSION {
                return Ok(Edit::Keep);
            }
            let name = names.get(seen);
            seen += 1;
            match name {
                Some(Some(name)) => Ok(Edit::Replace(symbolic(dimension, name)?)),
                _ => Ok(Edit::Keep),
            }
        })
    })?;
    if seen == names.len() { Ok(rewritten) } else { Err(format!("has {seen} dimensions instead of {}", names.len())) }
}

fn symbolic(dimension: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let mut rewritten = Vec::new();
    for item in fields(dimension) {
        let item = item?;
        if !matches!(item.number, field::DIMENSION_NUMBER | field::DIMENSION_NAME) {
            rewritten.extend_from_slice(item.raw);
        }
    }
    put_bytes(&mut rewritten, field::DIMENSION_NAME, name.as_bytes());
    Ok(rewritten)
}

/// How a field is changed.
enum Edit {
    Keep,
    Replace(Vec<u8>),
    Drop,
}

/// Decides by the number and content of a field.
type EditField<'f> = dyn FnMut(u64, &[u8]) -> Result<Edit, String> + 'f;

/// Edits a message.
type EditMessage<'f> = dyn FnMut(&[u8]) -> Result<Vec<u8>, String> + 'f;

/// Copies a message and applies `change` to each field whose content is bytes.
fn edit(message: &[u8], change: &mut EditField<'_>) -> Result<Vec<u8>, String> {
    let mut rewritten = Vec::with_capacity(message.len());
    for item in fields(message) {
        let item = item?;
        let decision = match item.payload {
            Some(payload) => change(item.number, payload)?,
            None => Edit::Keep,
        };
        match decision {
            Edit::Keep => rewritten.extend_from_slice(item.raw),
            Edit::Replace(payload) => put_bytes(&mut rewritten, item.number, &payload),
            Edit::Drop => {}
        }
    }
    Ok(rewritten)
}

/// Edits the message at the end of a path of field numbers.
fn edit_at(message: &[u8], path: &[u64], change: &mut EditMessage<'_>) -> Result<Vec<u8>, String> {
    let Some((step, rest)) = path.split_first() else { return change(message) };
    edit(message, &mut |number, inner| match number {
        number if number == *step => Ok(Edit::Replace(edit_at(inner, rest, change)?)),
        _ => Ok(Edit::Keep),
    })
}

/// The text in a field of a message, if there is one.
fn text_of(message: &[u8], number: u64) -> Result<Option<String>, String> {
    for item in fields(message) {
        let item = item?;
        if item.number == number {
            return text(item.payload()?).map(Some);
        }
    }
    Ok(None)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a name is not text".to_owned())
}

/// One field of a message.
struct Field<'m> {
    number: u64,
    /// The encoded field: key, length and content.
    raw: &'m [u8],
    /// The content, if its wire type is bytes.
    payload: Option<&'m [u8]>,
}

impl<'m> Field<'m> {
    fn payload(&self) -> Result<&'m [u8], String> {
        self.payload.ok_or_else(|| "not an ONNX model: a field is of another type".to_owned())
    }
}

fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, String>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = next_field(rest);
        // After damage the start of the next field is unknown.
        rest = next.as_ref().map_or(&[], |(_, rest)| rest);
        Some(next.map(|(field, _)| field).ok_or_else(|| "not an ONNX model: the encoding is damaged".to_owned()))
    })
}

fn next_field(message: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (key, rest) = varint(message)?;
    let (payload, rest) = match key & 7 {
        VARINT => (None, varint(rest)?.1),
        FIXED_64 => (None, rest.get(8..)?),
        FIXED_32 => (None, rest.get(4..)?),
        BYTES => {
            let (length, rest) = varint(rest)?;
            let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Some(payload), rest)
        }
        _ => return None,
    };
    let raw = &message[..message.len() - rest.len()];
    Some((Field { number: key >> 3, raw, payload }, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn put_varint(target: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        target.push(value as u8 | 0x80);
        value >>= 7;
    }
    target.push(value as u8);
}

fn put_bytes(target: &mut Vec<u8>, number: u64, payload: &[u8]) {
    put_varint(target, number << 3 | BYTES);
    put_varint(target, payload.len() as u64);
    target.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(parts: &[(u64, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, payload) in parts {
            put_bytes(&mut bytes, *number, payload);
        }
        bytes
    }

    fn dimension(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, field::DIMENSION_NUMBER << 3 | VARINT);
        put_varint(&mut bytes, number);
        bytes
    }

    fn value(name: &str, dimensions: &[Vec<u8>]) -> Vec<u8> {
        let shape: Vec<_> = dimensions.iter().map(|dim| (field::SHAPE_DIMENSION, dim.as_slice())).collect();
        let tensor = [vec![8, 1], message(&[(field::TENSOR_SHAPE, &message(&shape))])].concat();
        message(&[
            (field::VALUE_NAME, name.as_bytes()),
            (field::VALUE_TYPE, &message(&[(field::TYPE_TENSOR, &tensor)])),
        ])
    }

    fn named(name: &str) -> Vec<u8> {
        message(&[(field::DIMENSION_NAME, name.as_bytes())])
    }

    fn model(inputs: &[Vec<u8>]) -> Vec<u8> {
        let weight = message(&[(field::TENSOR_NAME, b"weight"), (9, &[7; 300])]);
        let mut graph = vec![(field::GRAPH_INITIALIZER, weight.as_slice())];
        graph.extend(inputs.iter().map(|input| (field::GRAPH_INPUT, input.as_slice())));
        [vec![8, 4], message(&[(field::MODEL_GRAPH, &message(&graph))]), vec![0x2d, 1, 2, 3, 4]].concat()
    }

    fn rewrite(input: &str) -> Rewrite {
        let names = [Some("batch".to_owned()), None, Some("height".to_owned())];
        let dimensions = [(input.to_owned(), names.to_vec())].into();
        Rewrite { sha256_before: String::new(), dimensions, free_batch: false }
    }

    #[test]
    fn dimensions_get_names_and_weights_leave_the_inputs() {
        let fixed = value("image", &[dimension(10), dimension(3), dimension(640)]);
        let other = value("mask", &[dimension(10)]);
        let before = model(&[fixed, other.clone(), value("weight", &[dimension(300)])]);
        let expected = model(&[value("image", &[named("batch"), dimension(3), named("height")]), other]);
        assert_eq!(rewrite("image").apply(&before).unwrap(), expected);
        assert_eq!(rewrite("image").apply(&expected).unwrap(), expected);
    }

    /// A graph with a `Reshape` to `shape` and a `Slice` from `start`, and the declaration of an inner value.
    fn reshaping(shape: &[u8], start: &[u8], inner: &[Vec<u8>], batch: Vec<u8>) -> Vec<u8> {
        let node = |kind: &str, constant: &str| {
            message(&[
                (field::NODE_INPUT, b"x".as_slice()),
                (field::NODE_INPUT, constant.as_bytes()),
                (field::NODE_KIND, kind.as_bytes()),
            ])
        };
        let (reshape, slice) = (node("Reshape", "shape"), node("Slice", "start"));
        let input = value("image", &[batch, dimension(3), named("height")]);
        let mut graph = vec![
            (field::GRAPH_NODE, reshape.as_slice()),
            (field::GRAPH_NODE, &slice),
            (field::GRAPH_INITIALIZER, shape),
            (field::GRAPH_INITIALIZER, start),
            (field::GRAPH_INPUT, &input),
        ];
        graph.extend(inner.iter().map(|value| (field::GRAPH_INNER_VALUE, value.as_slice())));
        message(&[(field::MODEL_GRAPH, &message(&graph))])
    }

    #[test]
    fn a_free_batch_replaces_the_one_in_the_shapes_of_reshapes() {
        let constant =
            |name: &str, number, numbers: &[u8]| message(&[(number, numbers), (field::TENSOR_NAME, name.as_bytes())]);
        let start = constant("start", field::TENSOR_INTEGERS, &[1, 85]);
        let inner = [value("x", &[dimension(1)])];
        let rewrite = Rewrite { free_batch: true, ..rewrite("image") };
        for (encoding, shape, freed) in [
            (field::TENSOR_INTEGERS, vec![1, 85, 255, 1], vec![0, 85, 255, 1]),
            (
                field::TENSOR_BYTES,
                [1_u64.to_le_bytes(), 85_u64.to_le_bytes()].concat(),
                [0_u64.to_le_bytes(), 85_u64.to_le_bytes()].concat(),
            ),
            (field::TENSOR_BYTES, [257_u64.to_le_bytes(); 2].concat(), [257_u64.to_le_bytes(); 2].concat()),
        ] {
            let before = reshaping(&constant("shape", encoding, &shape), &start, &inner, dimension(1));
            let expected = reshaping(&constant("shape", encoding, &freed), &start, &[], named("batch"));
            assert_eq!(rewrite.apply(&before).unwrap(), expected);
        }
    }

    #[test]
    fn a_free_batch_replaces_the_one_in_constants_that_are_nodes() {
        let reshape = message(&[
            (field::NODE_INPUT, b"x".as_slice()),
            (field::NODE_INPUT, b"shape"),
            (field::NODE_KIND, b"Reshape"),
        ]);
        let constant = |name: &str, batch: u64| {
            let numbers = [batch.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
            let tensor = message(&[(field::TENSOR_BYTES, numbers.as_slice())]);
            let attribute = message(&[(1, b"value".as_slice()), (field::ATTRIBUTE_TENSOR, &tensor)]);
            message(&[
                (field::NODE_OUTPUT, name.as_bytes()),
                (field::NODE_KIND, b"Constant"),
                (field::NODE_ATTRIBUTE, &attribute),
            ])
        };
        let graph = |shape: Vec<u8>, batch: Vec<u8>| {
            let input = value("image", &[batch, dimension(3), named("height")]);
            let other = constant("other", 1);
            let nodes = [shape.as_slice(), &other, &reshape].map(|node| (field::GRAPH_NODE, node));
            let graph = message(&[nodes.as_slice(), &[(field::GRAPH_INPUT, input.as_slice())]].concat());
            message(&[(field::MODEL_GRAPH, graph.as_slice())])
        };
        let rewrite = Rewrite { free_batch: true, ..rewrite("image") };
        let before = graph(constant("shape", 1), dimension(1));
        assert_eq!(rewrite.apply(&before).unwrap(), graph(constant("shape", 0), named("batch")));
    }

    #[test]
    fn a_rewrite_of_another_shape_is_an_error() {
        let before = model(&[value("image", &[dimension(10), dimension(3)])]);
        assert!(rewrite("image").apply(&before).unwrap_err().contains("2 dimensions instead of 3"));
        assert!(rewrite("image").apply(&before).unwrap_err().contains("`image`"));
        for cut in 1..before.len() - 5 {
            assert!(rewrite("image").apply(&before[..cut]).is_err(), "cut at {cut}");
        }
        assert!(rewrite("image").apply(&[0xff; 40]).is_err());
    }
}
