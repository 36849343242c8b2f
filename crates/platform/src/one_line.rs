//! Foreign texts on one line of a log or a terminal.

use std::fmt::Display;

/// The text with a space for each control character: a line break would forge a line, an escape sequence would steer a terminal.
pub fn one_line(text: &impl Display) -> String {
    text.to_string().chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(one_line(&"a\r\nb\u{1b}[2J\u{7f}\u{9b}ü"), "a  b [2J  ü");
    }
}
