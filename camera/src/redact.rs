//! Removes credentials from texts that may contain the address of a source.

use std::ops::Range;
use std::sync::RwLock;

/// Passwords that this process knows, in every spelling in which they may appear. The longest come first: one may contain another.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// What the names of secrets contain.
const NAMES: [&str; 7] = ["pass", "pwd", "token", "key", "secret", "auth", "sig"];

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
    let mut text = without_named(&without_user_info(text));
    if let Ok(secrets) = SECRETS.read() {
        for secret in secrets.iter() {
            text = text.replace(secret, "***");
        }
    }
    text
}

/// The text with `***` for what has the name of a secret, as in `user=ann&password=word`.
fn without_named(text: &str) -> String {
    let (mut clean, mut from) = (String::with_capacity(text.len()), 0);
    for secret in named_secrets(text) {
        clean.push_str(&text[from..secret.start]);
        clean.push_str("***");
        from = secret.end;
    }
    clean + &text[from..]
}

/// Where passwords and tokens with their names before them are: `password=word`, also within a path that some cameras have, such as
/// `/user=ann_password=word_channel=1.sdp`.
pub fn named_secrets(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (equals, _) in text.match_indices('=') {
        if found.last().is_some_and(|last| equals < last.end) {
            continue;
        }
        let name = text[..equals]
            .rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .next()
            .unwrap_or_default();
        let name = name.to_ascii_lowercase();
        if !NAMES.iter().any(|secret| name.contains(secret)) {
            continue;
        }
        let rest = &text[equals + 1..];
        let ends = |letter: char| letter.is_whitespace() || "&;?#/'\"`<>".contains(letter);
        let value = &rest[..rest.find(ends).unwrap_or(rest.len())];
        let is_name =
            |text: &str| text.split_once('=').is_some_and(|(name, _)| name.chars().all(|l| l.is_ascii_alphanumeric()));
        let next = value.match_indices('_').find(|(at, _)| is_name(&value[at + 1..]));
        let length = next.map_or(value.len(), |(at, _)| at);
        if length > 0 {
            found.push(equals + 1..equals + 1 + length);
        }
    }
    found
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
            ("/user=ann_password=tl_Jw6_channel=1_stream=0.sdp", "/user=ann_password=***_channel=1_stream=0.sdp"),
            (
                "string \"user=ann&PassWord=a_b&channel=1\", expected",
                "string \"user=ann&PassWord=***&channel=1\", expected",
            ),
            ("pwd=lamp/1 api_key=x; user=ann", "pwd=***/1 api_key=***; user=ann"),
            ("/live/auth_code=a,b/1", "/live/auth_code=***/1"),
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
