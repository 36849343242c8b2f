//! The words by which books are found. The program makes them, so that both databases answer alike.
//!
//! A word is letters and digits, in lower case and without accents. A book has the words of its title, author and description, and one word
//! for its status and for each category. A search finds the books that have all of its words; the last one may be the beginning of a word.

use std::collections::HashSet;

use contracts::{BookStatus, CategorySlug};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

/// Words of a book beyond these are not found.
const MAX_WORDS: usize = 1_000;
/// Words of a search beyond these do not count.
const MAX_QUERY_WORDS: usize = 16;
/// Characters of a word beyond these do not count.
const MAX_WORD: usize = 40;

/// The words of a text, in their order.
fn words(text: &str) -> impl Iterator<Item = String> {
    let letters = text.nfkd().flat_map(char::to_lowercase).nfkd();
    // Accents are marks of a class; vowel signs of other scripts have none, and stay.
    let folded: String = letters.filter(|letter| canonical_combining_class(*letter) == 0).collect();
    let words: Vec<String> = folded
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(MAX_WORD).collect())
        .collect();
    words.into_iter()
}

/// No word of a text begins with this sign, so none is the beginning of this one.
fn of_category(category: &CategorySlug) -> String {
    format!("=category-{category}")
}

fn of_status(status: BookStatus) -> String {
    format!("=status-{status}")
}

/// All words of a book, each once, with a space between two.
pub(super) fn search_text(texts: [&str; 3], categories: &[CategorySlug], status: BookStatus) -> String {
    let mut seen = HashSet::new();
    let of_texts = texts.into_iter().flat_map(words).filter(|word| seen.insert(word.clone())).take(MAX_WORDS);
    let all: Vec<String> = of_texts.chain(categories.iter().map(of_category)).chain([of_status(status)]).collect();
    all.join(" ")
}

/// A search for books.
pub(super) struct Search {
    whole: Vec<String>,
    /// The beginning of a word.
    last: Option<String>,
    statuses: Vec<String>,
}

impl Search {
    /// `None` if nothing can be found: the query has no word, or no status is asked for.
    pub(super) fn new(query: Option<&str>, category: Option<&CategorySlug>, statuses: &[BookStatus]) -> Option<Self> {
        let mut whole: Vec<String> = query.into_iter().flat_map(words).take(MAX_QUERY_WORDS).collect();
        let last = whole.pop();
        if statuses.is_empty() || query.is_some() && last.is_none() {
            return None;
        }
        whole.extend(category.map(of_category));
        Some(Self { whole, last, statuses: statuses.iter().copied().map(of_status).collect() })
    }

    /// As a `tsquery` of PostgreSQL. No word has a quote.
    pub(super) fn postgres(&self) -> String {
        let quoted = |word: &String| format!("'{word}'");
        let statuses: Vec<String> = self.statuses.iter().map(quoted).collect();
        let last = self.last.iter().map(|last| format!("'{last}':*"));
        let all: Vec<String> =
            self.whole.iter().map(quoted).chain(last).chain([format!("({})", statuses.join(" | "))]).collect();
        all.join(" & ")
    }

    /// As a query of FTS5. No word has a quote.
    pub(super) fn sqlite(&self) -> String {
        let quoted = |word: &String| format!("\"{word}\"");
        let statuses: Vec<String> = self.statuses.iter().map(quoted).collect();
        let last = self.last.iter().map(|last| format!("\"{last}\" *"));
        let all: Vec<String> =
            self.whole.iter().map(quoted).chain(last).chain([format!("({})", statuses.join(" OR "))]).collect();
        all.join(" AND ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_by(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn a_word_has_neither_case_nor_accent() {
        assert_eq!(found_by("Émile ZOLA: L'Œuvre"), ["emile", "zola", "l", "œuvre"]);
        assert_eq!(found_by("Anto\u{0301}nio İstanbul ﬁn"), ["antonio", "istanbul", "fin"]);
        assert_eq!(found_by("20,000 Leagues—1984's \0 _x_"), ["20", "000", "leagues", "1984", "s", "x"]);
        assert_eq!(found_by("Братья Карамазовы 罪と罰"), ["братья", "карамазовы", "罪と罰"]);
        assert_eq!(found_by("?! '\" & | :* \u{1F600}"), Vec::<String>::new());
    }

    #[test]
    fn a_book_has_each_word_once() {
        let categories = ["crime".parse().unwrap(), "science-fiction".parse().unwrap()];
        let text = search_text(["Dune, Dune", "Frank Herbert", ""], &categories, BookStatus::Ready);
        assert_eq!(text, "dune frank herbert =category-crime =category-science-fiction =status-ready");
        assert_eq!(search_text(["", "", ""], &[], BookStatus::Draft), "=status-draft");
    }

    #[test]
    fn a_search_is_written_for_both_databases() {
        let category = "science-fiction".parse().unwrap();
        let statuses = [BookStatus::Ready, BookStatus::Hidden];
        let search = Search::new(Some("Frank her"), Some(&category), &statuses).unwrap();
        assert_eq!(
            search.postgres(),
            "'frank' & '=category-science-fiction' & 'her':* & ('=status-ready' | '=status-hidden')"
        );
        assert_eq!(
            search.sqlite(),
            "\"frank\" AND \"=category-science-fiction\" AND \"her\" * AND (\"=status-ready\" OR \"=status-hidden\")"
        );
        assert!(Search::new(Some("'); --"), None, &statuses).is_none());
        assert!(Search::new(Some("dune"), None, &[]).is_none());
        let long = Search::new(Some(&"word ".repeat(1_000)), None, &statuses).unwrap();
        assert_eq!(long.whole.len(), MAX_QUERY_WORDS - 1);
    }
}
