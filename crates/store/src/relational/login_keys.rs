//! The keys by which users are found: one key per user name and per mailbox, in any spelling.
//!
//! A user name is compared in lower case. An e-mail address is compared without surrounding white space, in Normalization Form C and lower
//! case, with its domain in the ASCII form of IDNA (UTS 46). So `Ann@Bücher.example` and `ann@xn--bcher-kva.example` are one
//! mailbox. Mail servers may distinguish the case of local parts, but in practice they do not.

use unicode_normalization::UnicodeNormalization;

/// The key of a user name or e-mail address.
pub fn login_key(login: &str) -> String {
    match login.trim().rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", folded(local), domain_key(domain)),
        None => lower_case(login),
    }
}

/// The key by the rule of schema version 1: lower case alone. Accounts that share a mailbox with an older one keep it.
pub(super) fn lower_case(login: &str) -> String {
    login.trim().to_lowercase()
}

/// A domain that IDNA does not accept is compared like a local part.
fn domain_key(domain: &str) -> String {
    idna::domain_to_ascii(domain).unwrap_or_else(|_| folded(domain))
}

/// Lower case can decompose a letter, so it is normalised afterwards.
fn folded(text: &str) -> String {
    text.to_lowercase().nfc().collect()
}

/// The text in which the admin's search looks for a user.
pub(super) fn search_text(username: Option<&str>, email: Option<&str>, full_name: Option<&str>) -> String {
    [username, email, full_name].into_iter().flatten().map(str::to_lowercase).collect::<Vec<_>>().join("\n")
}

/// A `LIKE` pattern that finds `part` literally, in any case.
pub(super) fn pattern(part: &str) -> String {
    let mut pattern = "%".to_owned();
    for letter in part.to_lowercase().chars() {
        if ['%', '_', '\\'].contains(&letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_have_one_key() {
        for spelling in [
            "Zoë@Bücher.example",
            " zoë@bücher.example ",
            "zoe\u{308}@bu\u{308}cher.example",
            "ZOË@xn--bcher-kva.example",
            "zoë@BÜCHER。example",
        ] {
            assert_eq!(login_key(spelling), "zoë@xn--bcher-kva.example", "{spelling:?}");
        }
        assert_eq!(login_key("Ann@LOCALHOST"), "ann@localhost");
        assert_eq!(login_key(" Ann.O-Neil_2 "), "ann.o-neil_2");
    }

    #[test]
    fn different_mailboxes_have_different_keys() {
        let keys = ["a@b.c", "a+b@b.c", "a@b.d", "ä@b.c", "a@bb.c"].map(login_key);
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
    }

    #[test]
    fn a_domain_that_idna_refuses_has_a_key() {
        assert_eq!(login_key("A@xn--0.Example"), "a@xn--0.example");
    }
}
