//! What the metadata of a new upload says about its book.

use std::collections::BTreeMap;

use api_kit::error::{ApiError, RequestError};
use contracts::{BookId, Currency, Money};
use shop::NewBookFields;

/// A book and the file that is uploaded for it.
#[derive(Debug, Clone)]
pub enum Described {
    /// A book that is there.
    Book {
        /// Its id.
        book: BookId,
        /// The name of the file.
        file_name: Option<String>,
        /// Its media type.
        content_type: Option<String>,
    },
    /// A new one.
    New {
        /// Its fields.
        book: NewBookFields,
        /// The name of the file.
        file_name: Option<String>,
        /// Its media type.
        content_type: Option<String>,
    },
}

impl Described {
    /// Reads the metadata. Names that are not known are ignored, because clients send names of their own. `currency` is that of a price that
    /// names none.
    ///
    /// # Errors
    /// When a value has another form, or neither a book nor the title of a new one is named.
    pub fn parse(mut metadata: BTreeMap<String, String>, currency: Currency) -> Result<Self, ApiError> {
        let mut take = |names: &[&str]| names.iter().find_map(|name| metadata.remove(*name));
        let file_name = take(&["filename", "name"]);
        let content_type = take(&["filetype", "type"]);
        if let Some(book) = take(&["book", "audiobook_id"]) {
            return Ok(Self::Book { book: parsed("book", &book)?, file_name, content_type });
        }
        let Some(title) = take(&["title"]) else {
            let reason = "Upload-Metadata: name the book by its id, or the title of a new one";
            return Err(RequestError::Invalid(reason.to_owned()).into());
        };
        let author = take(&["author"]).unwrap_or_default();
        let minor = take(&["price", "price_cents"]).map(|minor| parsed("price", &minor)).transpose()?;
        let named = take(&["currency"]).map(|currency| parsed("currency", &currency)).transpose()?;
        let price = minor.map(|minor| Money { minor, currency: named.unwrap_or(currency) });
        let (language, description) = (take(&["language"]), take(&["description"]));
        let book = NewBookFields { title, author, price, language, description, categories: Vec::new() };
        Ok(Self::New { book, file_name, content_type })
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, RequestError> {
    text.parse().map_err(|error: T::Err| RequestError::Invalid(format!("Upload-Metadata: {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(pairs: &[(&str, &str)]) -> Result<Described, ApiError> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Described::parse(pairs.collect(), Currency::EUR)
    }

    #[test]
    fn a_new_book_has_a_title() {
        let pairs =
            [("title", "Emma"), ("author", "Jane Austen"), ("price", "1299"), ("filename", "emma.mp3"), ("x", "y")];
        let Ok(Described::New { book, file_name, content_type }) = described(&pairs) else { panic!("{pairs:?}") };
        assert_eq!((book.title.as_str(), book.author.as_str()), ("Emma", "Jane Austen"));
        assert_eq!(book.price, Some(Money { minor: 1299, currency: Currency::EUR }));
        assert_eq!((file_name.as_deref(), content_type), (Some("emma.mp3"), None));
        assert!(described(&[("author", "Jane Austen")]).is_err());
        assert!(described(&[]).is_err());
    }

    #[test]
    fn a_book_that_is_there_is_named_by_its_id() {
        let id = BookId::now();
        let found = described(&[("book", &id.to_string()), ("filetype", "audio/mpeg")]);
        let Ok(Described::Book { book, file_name, content_type }) = found else { panic!("{found:?}") };
        assert_eq!((book, file_name, content_type.as_deref()), (id, None, Some("audio/mpeg")));
        assert!(described(&[("book", "../x")]).is_err());
    }

    #[test]
    fn a_value_of_another_form_is_named() {
        for (name, value) in [("price", "12.99"), ("price", "x"), ("currency", "euro")] {
            let error = described(&[("title", "Emma"), (name, value)]).err();
            assert!(error.is_some_and(|error| error.to_string().contains(name)), "{name}: {value}");
        }
    }
}
