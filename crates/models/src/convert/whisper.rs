//! A Whisper model of CTranslate2 becomes one of whisper.cpp: names, dimensions and precision change, numbers do not.
//!
//! CTranslate2 stacks the query, key and value of the attention to the own sequence in one matrix, and the key and value of the
//! attention to the other one in another. whisper.cpp has a matrix for each, and no bias of keys, which is zero.

use super::ct2::Variables;
use super::ggml::{Ggml, HALF};
use super::mel::{BANDS, FREQUENCIES, filters};
use super::vocabulary;

/// Whether a layer of the result has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bias {
    Kept,
    /// It must be zero.
    None,
}

/// One of the two halves of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Encoder,
    Decoder,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }
}

/// The model in whisper.cpp's format.
///
/// # Errors
/// The bytes are not a Whisper model, or the vocabulary is not one.
pub fn to_ggml(model: &[u8], vocabulary: &[u8]) -> Result<Vec<u8>, String> {
    let from = Variables::read(model, "WhisperSpec")?;
    // The biases and positions double their size.
    let mut conversion = Conversion { from, into: Ggml::with_capacity(model.len() + model.len() / 16 + (1 << 20)) };
    conversion.head()?;
    conversion.vocabulary(vocabulary)?;
    conversion.side(Side::Encoder)?;
    conversion.side(Side::Decoder)?;
    Ok(conversion.into.finish())
}

struct Conversion<'a> {
    from: Variables<'a>,
    into: Ggml,
}

impl Conversion<'_> {
    /// The sizes of the network, and the filters of its input.
    fn head(&mut self) -> Result<(), String> {
        let [tokens, _] = self.from.get("decoder/embeddings/weight")?.matrix()?;
        let bands = self.from.get("encoder/conv1/weight")?.dimensions.get(1).copied();
        if bands != Some(BANDS) {
            return Err(format!("the input of the model has not {BANDS} bands"));
        }
        self.into.integer(tokens)?;
        for side in [Side::Encoder, Side::Decoder] {
            let name = side.name();
            let [positions, width] = self.from.get(&format!("{name}/position_encodings/encodings"))?.matrix()?;
            let heads = self.from.get(&format!("{name}/num_heads"))?.count()?;
            for number in [positions, width, heads, self.layers(side)] {
                self.into.integer(number)?;
            }
        }
        self.into.integer(BANDS)?;
        self.into.bytes(&HALF.to_le_bytes());
        self.into.integer(BANDS)?;
        self.into.integer(FREQUENCIES)?;
        self.into.singles(filters().into_iter());
        Ok(())
    }

    fn vocabulary(&mut self, vocabulary: &[u8]) -> Result<(), String> {
        let tokens = vocabulary::tokens(vocabulary)?;
        self.into.integer(tokens.len())?;
        for token in tokens {
            self.into.integer(token.len())?;
            self.into.bytes(&token);
        }
        Ok(())
    }

    fn layers(&self, side: Side) -> usize {
        let is_there = |layer: &usize| self.from.has(&format!("{}/layer_{layer}/ffn/linear_0/weight", side.name()));
        (0..).take_while(is_there).count()
    }

    fn side(&mut self, side: Side) -> Result<(), String> {
        let name = side.name();
        let positions = self.from.get(&format!("{name}/position_encodings/encodings"))?;
        let halves = positions.halves()?;
        self.into.widened(&format!("{name}.positional_embedding"), &positions.dimensions, halves)?;
        match side {
            Side::Encoder => {
                self.convolution("conv1")?;
                self.convolution("conv2")?;
            }
            Side::Decoder => {
                let tokens = self.from.get("decoder/embeddings/weight")?;
                self.into.halves("decoder.token_embedding.weight", &tokens.dimensions, tokens.halves()?)?;
            }
        }
        for layer in 0..self.layers(side) {
            self.layer(side, &format!("{name}/layer_{layer}"), &format!("{name}.blocks.{layer}"))?;
        }
        let norm = if side == Side::Encoder { "encoder.ln_post" } else { "decoder.ln" };
        self.norm(&format!("{name}/layer_norm"), norm)
    }

    fn layer(&mut self, side: Side, from: &str, into: &str) -> Result<(), String> {
        let [own, other, ffn] = ["self_attention", "attention", "ffn"].map(|part| format!("{from}/{part}"));
        self.norm(&format!("{own}/layer_norm"), &format!("{into}.attn_ln"))?;
        let parts = [("query", Bias::Kept), ("key", Bias::None), ("value", Bias::Kept)];
        self.linear(&format!("{own}/linear_0"), &format!("{into}.attn"), &parts)?;
        self.linear(&format!("{own}/linear_1"), &format!("{into}.attn"), &[("out", Bias::Kept)])?;
        if side == Side::Decoder {
            let cross = format!("{into}.cross_attn");
            self.norm(&format!("{other}/layer_norm"), &format!("{into}.cross_attn_ln"))?;
            self.linear(&format!("{other}/linear_0"), &cross, &[("query", Bias::Kept)])?;
            self.linear(&format!("{other}/linear_1"), &cross, &[("key", Bias::None), ("value", Bias::Kept)])?;
            self.linear(&format!("{other}/linear_2"), &cross, &[("out", Bias::Kept)])?;
        }
        self.norm(&format!("{ffn}/layer_norm"), &format!("{into}.mlp_ln"))?;
        self.linear(&format!("{ffn}/linear_0"), &format!("{into}.mlp"), &[("0", Bias::Kept)])?;
        self.linear(&format!("{ffn}/linear_1"), &format!("{into}.mlp"), &[("2", Bias::Kept)])
    }

    fn convolution(&mut self, name: &str) -> Result<(), String> {
        let weight = self.from.get(&format!("encoder/{name}/weight"))?;
        self.into.halves(&format!("encoder.{name}.weight"), &weight.dimensions, weight.halves()?)?;
        let bias = self.from.get(&format!("encoder/{name}/bias"))?;
        // whisper.cpp adds it to each moment, so it is a column there.
        let dimensions = [bias.dimensions.as_slice(), &[1]].concat();
        self.into.widened(&format!("encoder.{name}.bias"), &dimensions, bias.halves()?)
    }

    fn norm(&mut self, from: &str, into: &str) -> Result<(), String> {
        for (old, new) in [("gamma", "weight"), ("beta", "bias")] {
            let variable = self.from.get(&format!("{from}/{old}"))?;
            self.into.widened(&format!("{into}.{new}"), &variable.dimensions, variable.halves()?)?;
        }
        Ok(())
    }

    /// A matrix with its bias, of which equal parts become layers of their own.
    fn linear(&mut self, from: &str, into: &str, parts: &[(&str, Bias)]) -> Result<(), String> {
        let weight = self.from.get(&format!("{from}/weight"))?;
        let bias = self.from.get(&format!("{from}/bias"))?.halves()?;
        let ([rows, columns], weight) = (weight.matrix()?, weight.halves()?);
        if rows == 0 || columns == 0 || !rows.is_multiple_of(parts.len()) || bias.len() != rows * 2 {
            return Err(format!("`{from}` has not the rows of {} layers", parts.len()));
        }
        let rows = rows / parts.len();
        let pieces = weight.chunks(rows * columns * 2).zip(bias.chunks(rows * 2));
        for ((name, has_bias), (weight, bias)) in parts.iter().zip(pieces) {
            self.into.halves(&format!("{into}.{name}.weight"), &[rows, columns], weight)?;
            match has_bias {
                Bias::Kept => self.into.widened(&format!("{into}.{name}.bias"), &[rows], bias)?,
                Bias::None if is_zero(bias) => {}
                Bias::None => return Err(format!("the bias of the keys in `{from}` is not zero")),
            }
        }
        Ok(())
    }
}

/// Whether all half-precision numbers are zero, of either sign.
fn is_zero(halves: &[u8]) -> bool {
    let (halves, _) = halves.as_chunks::<2>();
    halves.iter().all(|half| u16::from_le_bytes(*half) & 0x7fff == 0)
}

#[cfg(test)]
mod tests;
