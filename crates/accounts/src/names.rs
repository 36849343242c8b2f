//! Rules for user names, e-mail addresses and full names.

use store::relational::UserRecord;

use crate::error::AccountError;

/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3).
const MAX_EMAIL: usize = 254;
/// Longest user name, in bytes.
const MAX_USERNAME: usize = 64;
/// Longest full name, in characters.
pub(crate) const MAX_FULL_NAME: usize = 200;
/// The user name of the operator's own user.
pub(crate) const OPERATOR: &str = "admin";

/// The names of a user, for the rule that a password must not be one of them.
pub(crate) fn known_names(user: &UserRecord) -> Vec<&str> {
    [&user.username, &user.email, &user.full_name].into_iter().filter_map(Option::as_deref).collect()
}

pub(crate) fn invalid(field: &'static str, reason: &str) -> AccountError {
    AccountError::Invalid { field, reason: reason.to_owned() }
}

/// Checks the names that are given.
pub(crate) fn check_names(
    username: Option<&str>,
    email: Option<&str>,
    full_name: Option<&str>,
) -> Result<(), AccountError> {
    if username.is_some_and(|username| !is_username(username)) {
        return Err(invalid("username", "a user name must be 1 to 64 characters out of A-Z a-z 0-9 . _ -"));
    }
    if email.is_some_and(|email| !is_email(email)) {
        return Err(invalid("email", "an e-mail address must have the form name@example.org"));
    }
    if full_name.is_some_and(|name| name.chars().count() > MAX_FULL_NAME || name.chars().any(char::is_control)) {
        return Err(invalid("full_name", "a full name must be at most 200 characters without control characters"));
    }
    Ok(())
}

/// ASCII only: with letters of other scripts that look alike, one user could impersonate another. Without an `@`, so that a name
/// is never an e-mail address.
fn is_username(name: &str) -> bool {
    (1..=MAX_USERNAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether it is the operator's user name. It is reserved also before the operator's user exists.
pub(crate) fn is_operator_name(name: &str) -> bool {
    name.eq_ignore_ascii_case(OPERATOR)
}

/// Whether mail could be sent to the address. Only a mail can show that it arrives.
pub(crate) fn is_email(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    let is_local = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
    let is_label = |label: &str| {
        let letters = label.chars().all(|c| c.is_alphanumeric() || is_mark(c) || c == '-');
        (1..=63).contains(&label.len()) && letters && !label.starts_with('-') && !label.ends_with('-')
    };
    email.len() <= MAX_EMAIL
        && (1..=64).contains(&local.len())
        && local.chars().all(is_local)
        && domain.split('.').all(is_label)
}

/// A combining mark: some keyboards send `ü` as `u` and a mark.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_can_be_typed_and_mailed() {
        for good in ["a", "Ann.O-Neil_2", &"x".repeat(64)] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["", "ann@home", "ann neil", "аnn", "ann\0", &"x".repeat(65)] {
            assert!(!is_username(bad), "{bad:?}");
        }
        for good in
            ["ann@example.org", "a+b@localhost", "ann@bücher.example", "ann@bu\u{308}cher.example", "o'neil@a.b"]
        {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@example.org", "x".repeat(65));
        for bad in [
            "",
            "ann",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a@-b",
            "a@b..c",
            "<a@b>",
            "a\r\nBcc: x@y",
            "a\0@b",
            &long,
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_wrong_name_is_reported_with_its_field() {
        assert!(check_names(None, None, Some("Ann \u{1F600} O'Neil")).is_ok());
        for (bad, field) in [((Some(""), None, None), "username"), ((None, None, Some("a\0b")), "full_name")] {
            let (username, email, full_name): (Option<&str>, Option<&str>, Option<&str>) = bad;
            let refused = check_names(username, email, full_name).unwrap_err();
            assert!(matches!(refused, AccountError::Invalid { field: named, .. } if named == field), "{refused:?}");
        }
    }
}
