//! Describes a text in its own words: a few whole sentences of its first quarter that say most about it and do not repeat one another.
//!
//! Maximal marginal relevance: each further sentence is close to the meaning of the quarter and far from those that were chosen. They stand
//! in the order of the text.

use std::ops::RangeInclusive;

use crate::embedding::Embedding;

/// Length of a description, in characters.
pub const DESCRIPTION_CHARACTERS: RangeInclusive<usize> = 200..=330;

/// Sentences of a shorter text are all looked at, because a quarter of it is too little.
const FEW: usize = 8;

/// Shortest sentence that says something, in characters and words.
const SHORTEST: usize = 25;
const FEWEST_WORDS: usize = 5;

/// Sentences among which is chosen: those closest to the meaning of the quarter.
const CANDIDATES: usize = 64;

/// How much closeness to the quarter counts; the rest is distance from the chosen ones.
const RELEVANCE: f32 = 0.7;

/// A sentence that may be chosen.
struct Candidate<'a> {
    place: usize,
    text: String,
    characters: usize,
    embedding: &'a Embedding,
    relevance: f32,
}

/// A description of the text with these sentences and their embeddings. `None` if no whole sentences have its length.
pub fn describe(sentences: &[&str], embeddings: &[Embedding]) -> Option<String> {
    let few = sentences.len().min(FEW);
    let quarter = sentences.len().div_ceil(4).max(few).min(embeddings.len());
    let candidates = candidates(&sentences[..quarter], &embeddings[..quarter])?;
    (0..candidates.len()).find_map(|first| chosen(&candidates, first))
}

/// The whole sentences, those closest to the meaning of all first.
fn candidates<'a>(sentences: &[&str], embeddings: &'a [Embedding]) -> Option<Vec<Candidate<'a>>> {
    let meaning = Embedding::mean(embeddings)?;
    let all = sentences.iter().zip(embeddings).enumerate().filter_map(|(place, (sentence, embedding))| {
        let words: Vec<&str> = sentence.split_whitespace().collect();
        let text = words.join(" ");
        let characters = text.chars().count();
        let fits = (SHORTEST..=*DESCRIPTION_CHARACTERS.end()).contains(&characters) && words.len() >= FEWEST_WORDS;
        let relevance = meaning.cosine(embedding);
        (fits && is_whole(&text)).then_some(Candidate { place, text, characters, embedding, relevance })
    });
    let mut all: Vec<Candidate<'a>> = all.collect();
    all.sort_by(|left, right| right.relevance.total_cmp(&left.relevance).then(left.place.cmp(&right.place)));
    all.truncate(CANDIDATES);
    Some(all)
}

/// Whether a sentence has its beginning and its end.
fn is_whole(text: &str) -> bool {
    let is_quote = |character: char| matches!(character, '"' | '\'' | '“' | '‘' | '”' | '’' | '(' | ')');
    let inner = text.trim_matches(is_quote);
    let begins = inner.chars().next().is_some_and(|first| first.is_uppercase() || first.is_numeric());
    begins && inner.ends_with(['.', '!', '?', '…'])
}

/// The description that begins with the choice of one sentence. `None` if the others do not fill it up.
fn chosen(candidates: &[Candidate<'_>], first: usize) -> Option<String> {
    let mut chosen = vec![&candidates[first]];
    let mut characters = candidates[first].characters;
    while characters < *DESCRIPTION_CHARACTERS.start() {
        let fits = |candidate: &&Candidate<'_>| {
            let is_new = chosen.iter().all(|known| known.place != candidate.place && known.text != candidate.text);
            is_new && characters + 1 + candidate.characters <= *DESCRIPTION_CHARACTERS.end()
        };
        let value = |candidate: &Candidate<'_>| {
            let nearest = chosen.iter().map(|known| known.embedding.cosine(candidate.embedding)).fold(-1.0, f32::max);
            RELEVANCE * candidate.relevance - (1.0 - RELEVANCE) * nearest
        };
        let best = candidates.iter().filter(fits).max_by(|left, right| value(left).total_cmp(&value(right)))?;
        characters += 1 + best.characters;
        chosen.push(best);
    }
    chosen.sort_by_key(|candidate| candidate.place);
    let texts: Vec<&str> = chosen.iter().map(|candidate| &*candidate.text).collect();
    Some(texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::tests::embedding;

    /// A whole sentence of this many characters.
    fn sentence(first: char, characters: usize) -> String {
        let mut text: String = std::iter::once(first).chain("aaaa ".chars().cycle()).take(characters - 2).collect();
        text.push_str("z.");
        text
    }

    /// Describes sentences with the first numbers of their embeddings.
    fn described(sentences: &[(String, [f32; 3])]) -> Option<String> {
        let texts: Vec<&str> = sentences.iter().map(|(text, _)| &**text).collect();
        let embeddings: Vec<Embedding> = sentences.iter().map(|(_, first)| embedding(first)).collect();
        describe(&texts, &embeddings)
    }

    #[test]
    fn a_description_has_whole_sentences_in_the_order_of_the_text() {
        let [one, two, three] = ['A', 'B', 'C'].map(|first| sentence(first, 110));
        let found = described(&[
            (one.clone(), [1.0, 0.2, 0.0]),
            (two.clone(), [1.0, 0.2, 0.0]),
            (three.clone(), [1.0, 0.0, 0.5]),
        ]);
        // The first two say the same, so one of them is left out.
        let found = found.unwrap();
        assert!(found == format!("{one} {three}") || found == format!("{two} {three}"), "{found}");
        assert!(DESCRIPTION_CHARACTERS.contains(&found.chars().count()));
    }

    #[test]
    fn the_end_of_the_text_is_not_told() {
        let mut sentences: Vec<_> = (0..100).map(|_| (sentence('A', 90), [0.5, 1.0, 0.0])).collect();
        for (index, (text, _)) in sentences.iter_mut().enumerate() {
            *text = format!("S{index} {text}");
        }
        let end = sentence('E', 120);
        sentences[90] = (end.clone(), [0.5, 1.0, 0.0]);
        assert!(!described(&sentences).unwrap().contains(&end));
    }

    #[test]
    fn a_text_without_fitting_sentences_has_no_description() {
        assert_eq!(described(&[]), None);
        assert_eq!(described(&[(sentence('A', 100), [1.0, 0.0, 0.0])]), None);
        assert_eq!(described(&[(sentence('A', 400), [1.0, 0.0, 0.0])]), None);
        let broken = sentence('a', 250);
        assert_eq!(described(&[(broken, [1.0, 0.0, 0.0])]), None, "it has no beginning");
        let long = sentence('A', 300);
        assert_eq!(described(&[(long.clone(), [1.0, 0.0, 0.0])]), Some(long));
    }
}
