//! What may be written into a book.

use contracts::CategorySlug;
use store::relational::{BookChange, MAX_CATEGORIES_OF_BOOK, NewBook};

use super::{BookFields, NewBookFields, draft};
use crate::ShopError;
use crate::money::check_price;

/// Longest title and longest name of an author, in characters.
const MAX_NAME: usize = 200;
/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 5_000;
/// Longest query, in characters.
const MAX_QUERY: usize = 200;
/// Longest tag of a language, in bytes.
const MAX_LANGUAGE: usize = 35;

/// A new book, checked.
pub(super) fn new_book(new: NewBookFields) -> Result<NewBook, ShopError> {
    Ok(draft(NewBookFields {
        title: title(&new.title)?,
        author: author(&new.author)?,
        language: new.language.as_deref().map(language).transpose()?,
        price: new.price.map(check_price).transpose()?,
        description: new.description.as_deref().map(description).transpose()?,
        categories: categories(new.categories)?,
    }))
}

/// A change of a book, checked.
pub(super) fn change(change: BookFields) -> Result<BookChange, ShopError> {
    Ok(BookChange {
        title: change.title.as_deref().map(title).transpose()?,
        author: change.author.as_deref().map(author).transpose()?,
        language: inner(change.language.as_ref(), language)?,
        price: change.price.map(check_price).transpose()?.map(Some),
        description: inner(change.description.as_ref(), description)?,
        categories: change.categories.map(categories).transpose()?,
        ..BookChange::default()
    })
}

/// A field that may be removed.
fn inner(
    field: Option<&Option<String>>,
    check: fn(&str) -> Result<String, ShopError>,
) -> Result<Option<Option<String>>, ShopError> {
    field.map(|value| value.as_deref().map(check).transpose()).transpose()
}

/// Words to look for.
pub(super) fn query(text: &str) -> Result<String, ShopError> {
    if text.chars().count() > MAX_QUERY || text.chars().any(char::is_control) {
        let reason = format!("a query has at most {MAX_QUERY} characters, and no control characters");
        return Err(ShopError::invalid("query", reason));
    }
    Ok(text.to_owned())
}

fn title(text: &str) -> Result<String, ShopError> {
    let text = text.trim();
    let valid = (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let reason = || format!("a title has 1 to {MAX_NAME} characters, and no control characters");
    if valid { Ok(text.to_owned()) } else { Err(ShopError::invalid("title", reason())) }
}

fn author(text: &str) -> Result<String, ShopError> {
    let text = text.trim();
    let valid = text.chars().count() <= MAX_NAME && !text.chars().any(char::is_control);
    let reason = || format!("an author has at most {MAX_NAME} characters, and no control characters");
    if valid { Ok(text.to_owned()) } else { Err(ShopError::invalid("author", reason())) }
}

/// Of BCP 47 the form is checked: groups of letters and digits, the first of letters.
fn language(text: &str) -> Result<String, ShopError> {
    let group = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let first = text.split('-').next().unwrap_or_default();
    let named = (2..=8).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    if named && text.len() <= MAX_LANGUAGE && text.split('-').all(group) {
        return Ok(text.to_owned());
    }
    Err(ShopError::invalid("language", "a language is a tag of BCP 47, like en or pt-BR"))
}

fn description(text: &str) -> Result<String, ShopError> {
    let allowed = |letter: char| !letter.is_control() || letter == '\n' || letter == '\t';
    let text = text.trim().replace("\r\n", "\n");
    if text.chars().count() <= MAX_DESCRIPTION && text.chars().all(allowed) {
        return Ok(text);
    }
    let reason =
        format!("a description has at most {MAX_DESCRIPTION} characters, and no control characters but line ends");
    Err(ShopError::invalid("description", reason))
}

/// Each category once, in the order in which they were given.
fn categories(slugs: Vec<CategorySlug>) -> Result<Vec<CategorySlug>, ShopError> {
    // Bounded before the search for doubles, which compares each with each.
    if slugs.len() > 2 * MAX_CATEGORIES_OF_BOOK {
        return Err(too_many_categories());
    }
    let mut each = Vec::with_capacity(slugs.len());
    for slug in slugs {
        if !each.contains(&slug) {
            each.push(slug);
        }
    }
    if each.len() > MAX_CATEGORIES_OF_BOOK { Err(too_many_categories()) } else { Ok(each) }
}

fn too_many_categories() -> ShopError {
    ShopError::invalid("categories", format!("a book has at most {MAX_CATEGORIES_OF_BOOK} categories"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(new: NewBookFields) -> Option<&'static str> {
        new_book(new).err().and_then(|error| error.field())
    }

    fn titled(title: &str) -> NewBookFields {
        NewBookFields { title: title.to_owned(), ..NewBookFields::default() }
    }

    #[test]
    fn a_refused_book_names_its_field() {
        assert_eq!(field_of(titled("Emma")), None);
        for title in ["", "   ", "a\0b", "a\nb", &"x".repeat(201)] {
            assert_eq!(field_of(titled(title)), Some("title"), "{title:?}");
        }
        assert_eq!(field_of(NewBookFields { author: "\u{1b}[2J".to_owned(), ..titled("Emma") }), Some("author"));
        for language in ["", "e", "english language", "en-", "-en", "en_GB", "1a", &"en-aaaaaaa".repeat(9)] {
            let new = NewBookFields { language: Some(language.to_owned()), ..titled("Emma") };
            assert_eq!(field_of(new), Some("language"), "{language:?}");
        }
        let new = NewBookFields { description: Some("x".repeat(5_001)), ..titled("Emma") };
        assert_eq!(field_of(new), Some("description"));
    }

    #[test]
    fn blanks_around_a_name_are_removed() {
        let new = NewBookFields { language: Some("pt-BR".to_owned()), ..titled("  Emma ") };
        let book = new_book(new).unwrap();
        assert_eq!((book.title.as_str(), book.language.as_deref()), ("Emma", Some("pt-BR")));
    }

    #[test]
    fn a_category_is_counted_once() {
        let slugs = |count: usize| (0..count).map(|n| format!("c{n}").parse().unwrap()).collect::<Vec<CategorySlug>>();
        let mut twice = slugs(MAX_CATEGORIES_OF_BOOK);
        twice.push("c0".parse().unwrap());
        assert_eq!(categories(twice).unwrap(), slugs(MAX_CATEGORIES_OF_BOOK));
        assert!(categories(slugs(MAX_CATEGORIES_OF_BOOK + 1)).is_err());
        assert!(categories(slugs(1_000)).is_err());
    }
}
