//! The categories that a text is closest to. Nothing is trained: each category has a hint, a sentence about what belongs to it.

use crate::embedding::Embedding;

/// Categories of one text.
const MOST: usize = 3;

/// How much less than the best one a category may have.
const MARGIN: f32 = 0.05;

/// A category that a text may have.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// Its name.
    pub slug: &'a str,
    /// The embedding of its hint.
    pub hint: &'a Embedding,
}

/// How close a text is to a category.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The category's name.
    pub slug: String,
    /// The cosine of the text and the hint, -1 to 1.
    pub score: f32,
}

/// How close the text with these sentences is to each category, the closest first. None for a text without sentences.
pub fn scores(sentences: &[Embedding], labels: &[Label<'_>]) -> Vec<Score> {
    let Some(meaning) = Embedding::mean(sentences) else { return Vec::new() };
    let score = |label: &Label<'_>| Score { slug: label.slug.to_owned(), score: meaning.cosine(label.hint) };
    let mut scores: Vec<Score> = labels.iter().map(score).collect();
    scores.sort_by(|left, right| right.score.total_cmp(&left.score).then_with(|| left.slug.cmp(&right.slug)));
    scores
}

/// The categories of the text with these sentences: the closest one, and at most two that are nearly as close. One to which the text is
/// not close at all is none.
pub fn categories(sentences: &[Embedding], labels: &[Label<'_>]) -> Vec<Score> {
    let mut scores = scores(sentences, labels);
    let best = scores.first().map_or(0.0, |best| best.score);
    scores.retain(|found| found.score > 0.0 && found.score >= best - MARGIN);
    scores.truncate(MOST);
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::tests::embedding;

    #[test]
    fn a_text_has_the_closest_categories() {
        let text = [embedding(&[1.0, 0.1]), embedding(&[1.0, -0.1])];
        let hints = [[1.0, 0.0], [0.97, 0.2], [0.97, 0.21], [0.97, 0.22], [0.0, 1.0]].map(|hint| embedding(&hint));
        let labels: Vec<Label<'_>> =
            ["a", "b", "c", "d", "e"].into_iter().zip(&hints).map(|(slug, hint)| Label { slug, hint }).collect();
        let found: Vec<String> = categories(&text, &labels).into_iter().map(|score| score.slug).collect();
        assert_eq!(found, ["a", "b", "c"]);
        assert_eq!(scores(&text, &labels).len(), 5);
        assert!(categories(&text, &labels[4..]).is_empty());
        assert!(categories(&[], &labels).is_empty());
    }
}
