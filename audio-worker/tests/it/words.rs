//! Word errors.

/// What the President says in `jfk.wav`.
pub const JFK: &str =
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country";

/// The words of a text, in lower case and without punctuation.
pub fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| -> String {
        word.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
}

/// Words that are wrong, missing or too many.
pub fn word_errors(said: &str, written: &str) -> usize {
    let (said, written) = (words(said), words(written));
    let mut row: Vec<usize> = (0..=written.len()).collect();
    for (index, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in written.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[written.len()]
}

#[test]
fn word_errors_count_each_wrong_word_once() {
    assert_eq!(word_errors("Ask not what", "ask, NOT what!"), 0);
    assert_eq!(word_errors("ask not what your country", "ask what your big county"), 3);
    assert_eq!(word_errors("", "ask not"), 2);
}
