//! The body of the fuzz target `ct2`. `scripts/fuzz` runs it on generated inputs; the test below runs it on the inputs in `fuzz/corpus`.
//! It is compiled for these two only.

#[path = "../../../fuzz/reason.rs"]
mod reason;

use crate::convert::whisper_to_ggml;
use reason::assert_clean;

/// What divides an input into a model and a vocabulary.
const BORDER: &[u8] = b"\n--\n";

/// Converts any model with any vocabulary. Either they are refused with a reason, or the result is whisper.cpp's format, not much longer
/// than the input, and the same on every conversion.
pub fn ct2(data: &[u8]) {
    let border = data.windows(BORDER.len()).rposition(|window| window == BORDER).unwrap_or(data.len());
    let (model, vocabulary) = data.split_at(border);
    let vocabulary = vocabulary.strip_prefix(BORDER).unwrap_or_default();
    match whisper_to_ggml(model, vocabulary) {
        Ok(file) => {
            assert!(file.starts_with(b"lmgg"));
            assert!(file.len() <= 4 * model.len() + 5 * vocabulary.len() + 80 * 201 * 4 + 100, "{} bytes", file.len());
            assert_eq!(whisper_to_ggml(model, vocabulary).as_ref(), Ok(&file), "the same bytes gave another file");
        }
        Err(error) => assert_clean(&error),
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn any_bytes_are_converted_or_refused() {
        replay("ct2", super::ct2);
    }
}
