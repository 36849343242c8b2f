//! Removes credentials from texts that may contain the address of a source.

use std::sync::RwLock;

/// Passwords that this process knows, in every spelling in which they may appear. The longest come first: one may contain another.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Shortest text that is removed wherever it appears, in bytes. Where it stands in an address, a shorter one is removed as well.
const SHORTEST: usize = 4;

/// From now on this text is removed wherever it appears.
pub fn add_secret(text: &str) {
    // A shorter one would be removed from the middle of other words, and so be shown.
    if text.len() < SHORTEST {
        return;
    }
    if let Ok(mut secrets) = SECRETS.write()
        && !secrets.iter().any(|known| known == text)
    {
        let place = secrets.partition_point(|known| known.len() >= text.len());
        secrets.insert(place, text.to_owned());
    }
}

/// The text with `***` for known passwords, and for what stands before `@` in an address.
pub fn redact(text: &str) -> String {
    let mut text = without_user_info(text);
    if let Ok(secrets) = SECRETS.read() {
        for secret in secrets.iter() {
            text = text.replace(secret, "***");
        }
    }
    text
}

/// `rtsp://user:word@host/path?key=word` becomes `rtsp://***@host/path?***`, because queries have tokens. A password may have an `@`
/// itself, so the last one of the authority counts.
fn without_user_info(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let ends = |letter: char| letter.is_whitespace() || "'\"".contains(letter);
        let address = &after[..after.find(ends).unwrap_or(after.len())];
        let slash = address.find(['/', '?', '#']).unwrap_or(address.len());
        // With a slash in a password that was not encoded, the last `@` is beyond the authority.
        let end = match address.rfind('@') {
            Some(at) if at > slash && address[..slash].contains([':', '@']) => {
                at + address[at..].find(['/', '?', '#']).unwrap_or(address.len() - at)
            }
            _ => slash,
        };
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                clean.push_str("***@");
                clean.push_str(host);
            }
            None => clean.push_str(authority),
        }
        let end = tail.find(|letter: char| letter.is_whitespace() || "'\"".contains(letter)).unwrap_or(tail.len());
        let (path, after) = tail.split_at(end);
        match path.split_once('?') {
            Some((path, _)) => {
                clean.push_str(path);
                clean.push_str("?***");
            }
            None => clean.push_str(path),
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_an_address_are_removed() {
        for (text, expected) in [
            ("Opening 'rtsp://a:b@10.0.0.5/1' for reading", "Opening 'rtsp://***@10.0.0.5/1' for reading"),
            ("http://a:p@ss@host:80/x?y=z http://c@d", "http://***@host:80/x?*** http://***@d"),
            ("URL 'http://host/live.m3u8?token=word' fails", "URL 'http://host/live.m3u8?***' fails"),
            ("'rtsp://ann:p@ss/w#rd@10.0.0.5/1'", "'rtsp://***@10.0.0.5/1'"),
            ("rtsp://ann:12/w@10.0.0.5", "rtsp://***@10.0.0.5"),
            ("mail a@b.c and http://host/@x", "mail a@b.c and http://host/@x"),
            ("", ""),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn a_known_password_is_removed_everywhere() {
        add_secret("cor rect%horse");
        assert_eq!(redact("401 for cor rect%horse."), "401 for ***.");
        add_secret("battery");
        add_secret("battery-staple");
        assert_eq!(redact("battery-staple"), "***", "one that contains another");
    }
}
