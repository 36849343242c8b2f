//! Reads the vocabulary of Whisper: one token a line, in the order of their numbers.
//!
//! A token is a row of bytes. In the file each byte is a character: a printable one is itself, and the 68 others are the characters from
//! 256 on, so that no line has a space or a control character.

/// The line after the last token of text.
const END: &str = "<|endoftext|>";

/// The tokens of text.
///
/// # Errors
/// The bytes are not such a file.
pub fn tokens(file: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let text = std::str::from_utf8(file).map_err(|_| "the vocabulary is not UTF-8")?;
    let mut tokens = Vec::new();
    for line in text.split('\n') {
        if line == END {
            return Ok(tokens);
        }
        let token: Option<Vec<u8>> = line.chars().map(byte).collect();
        tokens.push(token.ok_or_else(|| format!("line {} of the vocabulary is no token", tokens.len() + 1))?);
    }
    Err(format!("the vocabulary has no {END}"))
}

/// The byte that a character stands for.
fn byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        33..=126 | 161..=172 | 174..=255 => code,
        256..=288 => code - 256,
        289..=322 => code - 289 + 127,
        323 => 173,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut bytes: Vec<u8> = (0..400).filter_map(char::from_u32).filter_map(byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn the_tokens_of_text_end_before_the_special_ones() {
        let found = tokens("!\nĠthe\nĊ\n<|endoftext|>\n<|startoftranscript|>".as_bytes()).unwrap();
        assert_eq!(found, [b"!".to_vec(), b" the".to_vec(), b"\n".to_vec()]);
        assert!(tokens(b"!\n\"").unwrap_err().contains("endoftext"));
        assert!(tokens(b"a b\n<|endoftext|>").unwrap_err().contains("line 1"));
        assert!(tokens(&[0xff]).is_err());
    }
}
