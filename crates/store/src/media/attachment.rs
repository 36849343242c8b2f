//! The header `content-disposition` of a download.

/// Longest file name in the header, in characters. Longer ones are cut, because file systems have such bounds.
const MAX_CHARACTERS: usize = 120;

/// The value of `content-disposition` with which a client saves a file under this name (RFC 6266). What is no plain ASCII in it is sent twice:
/// as an underscore for old clients, and encoded. Path separators and control characters become underscores, so the name is no path.
pub fn attachment(file_name: &str) -> String {
    let name: String = file_name.chars().take(MAX_CHARACTERS).map(harmless).collect();
    let name = name.trim().trim_start_matches('.');
    let name = if name.is_empty() { "download" } else { name };
    let plain: String = name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    let encoded: String = name.bytes().map(encoded).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

fn harmless(character: char) -> char {
    if character.is_control() || ['/', '\\', ':'].contains(&character) { '_' } else { character }
}

/// Whether a character may be in a quoted text as it is. A percent sign is not, because some clients decode it there.
fn is_plain(character: char) -> bool {
    (character.is_ascii_graphic() || character == ' ') && !['"', '%'].contains(&character)
}

/// A byte as RFC 8187 has it.
fn encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        return char::from(byte).to_string();
    }
    format!("%{byte:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sent_plainly_or_encoded_and_is_never_a_path() {
        let name = "Moby Dick.mp3";
        assert_eq!(attachment(name), "attachment; filename=\"Moby Dick.mp3\"");
        assert_eq!(attachment("Grüße"), "attachment; filename=\"Gr__e\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe");
        assert_eq!(attachment("../../etc/passwd"), "attachment; filename=\"_.._etc_passwd\"");
        let expected = "attachment; filename=\"a___set-cookie_ x\"; filename*=UTF-8''a%22__set-cookie_%20x";
        assert_eq!(attachment("a\"\r\nset-cookie: x"), expected);
        assert_eq!(attachment(" .. "), "attachment; filename=\"download\"");
        assert!(attachment(&"ü".repeat(5_000)).len() < 1_000);
    }
}
