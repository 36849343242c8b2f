//! A long text in pieces that fit a model's context.

/// Tokens of a text, not less than any usual tokeniser makes of it: a third of its letters in Latin script, more of others.
pub(super) fn tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    let others = text.chars().filter(|character| !character.is_ascii()).count() as u64;
    ascii.div_ceil(3) + others.saturating_mul(3).div_ceil(2)
}

/// The texts, put together into pieces of at most `most` tokens each, in order. A text that is longer alone is cut.
pub(super) fn pieces<'t>(texts: impl IntoIterator<Item = &'t str>, most: u64) -> Vec<String> {
    let mut pieces = Vec::new();
    let (mut piece, mut used) = (String::new(), 0);
    for text in texts {
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (part, after) = cut(rest, most);
            let more = tokens(part) + 1;
            if used + more > most && !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
                used = 0;
            }
            if !piece.is_empty() {
                piece.push(' ');
            }
            piece.push_str(part);
            used += more;
            rest = after.trim_start();
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// The longest beginning of at most `most` tokens, and the rest: cut at a blank if there is one in its second half.
pub(super) fn cut(text: &str, most: u64) -> (&str, &str) {
    if tokens(text) <= most {
        return (text, "");
    }
    // The number of tokens grows with the text, so the place is found by halving.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let fit = starts.partition_point(|at| tokens(&text[..*at]) <= most).saturating_sub(1);
    // At least one character, so that the rest gets shorter.
    let end = starts.get(fit.max(1)).copied().unwrap_or(text.len());
    let blank = text[..end].rfind(char::is_whitespace).filter(|at| *at > end / 2);
    text.split_at(blank.unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_and_lose_nothing() {
        let sentences: Vec<String> = (0..500).map(|n| format!("Sentence number {n} has some words.")).collect();
        let pieces = pieces(sentences.iter().map(String::as_str), 100);
        assert!(pieces.iter().all(|piece| tokens(piece) <= 100) && pieces.len() > 10);
        assert_eq!(pieces.join(" "), sentences.join(" "));
    }

    #[test]
    fn a_text_that_is_too_long_alone_is_cut() {
        for text in ["word ".repeat(1000), "ß".repeat(1000), "謝".repeat(1000), "x".repeat(5000)] {
            let pieces = pieces([text.trim()], 50);
            assert!(pieces.iter().all(|piece| tokens(piece) <= 51), "{text}");
            let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
            assert_eq!(letters(&pieces.concat()), letters(&text));
        }
        assert!(pieces([" ", ""], 50).is_empty());
        assert_eq!(pieces(["謝謝"], 1).len(), 2, "a limit below one character ends all the same");
    }
}
