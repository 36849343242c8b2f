//! A network of two numbers' width with one layer on each side.

use super::*;

const VOCABULARY: &[u8] = "a\nĠb\n<|endoftext|>\n".as_bytes();

/// A half-precision one.
const ONE: u16 = 0x3c00;

/// Writes CTranslate2's format.
#[derive(Default)]
struct Writer {
    variables: Vec<u8>,
    count: u32,
}

impl Writer {
    fn text(bytes: &mut Vec<u8>, text: &str) {
        let length = u16::try_from(text.len() + 1).unwrap();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }

    fn variable(&mut self, name: &str, dimensions: &[u32], kind: u8, content: &[u8]) {
        Self::text(&mut self.variables, name);
        self.variables.push(u8::try_from(dimensions.len()).unwrap());
        self.variables.extend(dimensions.iter().flat_map(|side| side.to_le_bytes()));
        self.variables.push(kind);
        self.variables.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        self.variables.extend_from_slice(content);
        self.count += 1;
    }

    /// A weight whose numbers, as bits, follow one another from one on.
    fn weight(&mut self, name: &str, dimensions: &[u32]) {
        let numbers: u16 = dimensions.iter().map(|side| u16::try_from(*side).unwrap()).product();
        let content: Vec<u8> = (0..numbers).flat_map(|number| (ONE + number).to_le_bytes()).collect();
        self.variable(name, dimensions, 4, &content);
    }

    fn linear(&mut self, name: &str, rows: u32, columns: u32) {
        self.weight(&format!("{name}/weight"), &[rows, columns]);
        self.weight(&format!("{name}/bias"), &[rows]);
    }

    fn norm(&mut self, name: &str) {
        self.weight(&format!("{name}/gamma"), &[2]);
        self.weight(&format!("{name}/beta"), &[2]);
    }

    /// A stacked layer whose keys have this bias.
    fn stacked(&mut self, name: &str, before_keys: usize, after_keys: usize, key: u16) {
        let layers = u32::try_from(before_keys + 1 + after_keys).unwrap();
        self.weight(&format!("{name}/weight"), &[layers * 2, 2]);
        let bias = [vec![ONE; before_keys * 2], vec![key; 2], vec![ONE; after_keys * 2]].concat();
        let content: Vec<u8> = bias.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.variable(&format!("{name}/bias"), &[layers * 2], 4, &content);
    }

    fn finish(self) -> Vec<u8> {
        let mut file = 6_u32.to_le_bytes().to_vec();
        Self::text(&mut file, "WhisperSpec");
        file.extend_from_slice(&3_u32.to_le_bytes());
        file.extend_from_slice(&self.count.to_le_bytes());
        file.extend_from_slice(&self.variables);
        file.extend_from_slice(&1_u32.to_le_bytes());
        Self::text(&mut file, "decoder/projection/weight");
        Self::text(&mut file, "decoder/embeddings/weight");
        file
    }
}

/// A model in CTranslate2's format, in which the keys have this bias.
fn model(key: u16) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.weight("decoder/embeddings/weight", &[3, 2]);
    for (name, width) in [("conv1", 80), ("conv2", 2)] {
        writer.weight(&format!("encoder/{name}/weight"), &[2, width, 3]);
        writer.weight(&format!("encoder/{name}/bias"), &[2]);
    }
    for side in ["encoder", "decoder"] {
        writer.variable(&format!("{side}/num_heads"), &[], 2, &1_i16.to_le_bytes());
        writer.weight(&format!("{side}/position_encodings/encodings"), &[5, 2]);
        writer.norm(&format!("{side}/layer_norm"));
        let layer = format!("{side}/layer_0");
        for part in ["self_attention", "attention", "ffn"] {
            writer.norm(&format!("{layer}/{part}/layer_norm"));
        }
        writer.stacked(&format!("{layer}/self_attention/linear_0"), 1, 1, key);
        writer.linear(&format!("{layer}/self_attention/linear_1"), 2, 2);
        writer.linear(&format!("{layer}/attention/linear_0"), 2, 2);
        writer.stacked(&format!("{layer}/attention/linear_1"), 0, 1, key);
        writer.linear(&format!("{layer}/attention/linear_2"), 2, 2);
        writer.linear(&format!("{layer}/ffn/linear_0"), 8, 2);
        writer.linear(&format!("{layer}/ffn/linear_1"), 2, 8);
    }
    writer.finish()
}

/// The bytes that follow the name of a tensor.
fn content<'a>(file: &'a [u8], name: &str) -> &'a [u8] {
    let start = file.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    &file[start + name.len()..]
}

#[test]
fn the_head_has_the_sizes_filters_and_tokens() {
    let file = to_ggml(&model(0), VOCABULARY).unwrap();
    let numbers: Vec<u32> = file.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    assert_eq!(numbers[1..14], [3, 5, 2, 1, 1, 5, 2, 1, 1, 80, 1, 80, 201]);
    let tokens = &file[(14 + 80 * 201) * 4..];
    assert!(tokens.starts_with(&[2, 0, 0, 0, 1, 0, 0, 0, b'a', 2, 0, 0, 0, b' ', b'b']));
}

#[test]
fn stacked_layers_become_layers_of_their_own() {
    let file = to_ggml(&model(0x8000), VOCABULARY).unwrap();
    for (name, first) in [("query", ONE), ("key", ONE + 4), ("value", ONE + 8)] {
        let weight = content(&file, &format!("decoder.blocks.0.attn.{name}.weight"));
        let expected: Vec<u8> = (first..first + 4).flat_map(u16::to_le_bytes).collect();
        assert!(weight.starts_with(&expected), "{name}");
    }
    let value = content(&file, "decoder.blocks.0.cross_attn.value.weight");
    assert!(value.starts_with(&(ONE + 4).to_le_bytes()));
    assert!(content(&file, "decoder.blocks.0.attn.query.bias").starts_with(&1_f32.to_le_bytes()));
    let has = |name: &str| file.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(has("encoder.ln_post.bias") && has("decoder.ln.weight"));
    assert!(!has("key.bias") && !has("encoder.blocks.0.cross_attn") && !has("blocks.1."));
}

#[test]
fn a_model_of_another_kind_is_refused() {
    assert!(to_ggml(&model(ONE), VOCABULARY).unwrap_err().contains("bias of the keys"));
    assert!(to_ggml(&model(0), b"a\n").unwrap_err().contains("vocabulary"));
    assert!(to_ggml(b"<html>", VOCABULARY).is_err());
    assert!(to_ggml(&Writer::default().finish(), VOCABULARY).unwrap_err().contains("decoder/embeddings/weight"));
    let whole = model(0);
    for cut in (0..whole.len()).step_by(7) {
        assert!(to_ggml(&whole[..cut], VOCABULARY).is_err(), "cut at {cut}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(to_ggml(&longer, VOCABULARY).unwrap_err().contains("follow"));
}
