//! Books of the shop: writing them, finding them, their categories.

use contracts::{BookId, BookStatus, CategorySlug, Currency, Money};
use futures::future::join_all;
use jiff::SignedDuration;
use store::relational::{
    AuditEntry, BookChange, BookFilter, BookRecord, BookWriteOutcome, CategoryRecord, MAX_CATEGORIES_OF_BOOK, NewBook,
};
use store::{PageCursor, Relational};
use uuid::Uuid;

use crate::relational::{TwoStores, now};

pub fn euros(minor: i64) -> Money {
    Money { minor, currency: Currency::EUR }
}

/// A book that is for sale.
pub fn titled(title: &str) -> NewBook {
    NewBook {
        id: BookId::now(),
        title: title.to_owned(),
        author: "Jane Austen".to_owned(),
        language: Some("en".to_owned()),
        price: Some(euros(1_299)),
        description: None,
        categories: Vec::new(),
        status: BookStatus::Ready,
    }
}

pub async fn put(store: &Relational, book: &NewBook) -> BookRecord {
    let outcome = store.create_book(book, None, now()).await.unwrap();
    stored(outcome)
}

pub async fn sell(store: &Relational, title: &str) -> BookRecord {
    put(store, &titled(title)).await
}

pub fn stored(outcome: BookWriteOutcome) -> BookRecord {
    let BookWriteOutcome::Stored(book) = outcome else { unreachable!("it is stored: {outcome:?}") };
    *book
}

pub fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        id: Uuid::now_v7(),
        at: now(),
        action: action.to_owned(),
        user: None,
        actor: None,
        address: Some("192.0.2.1".to_owned()),
        detail: Some("a book".to_owned()),
    }
}

async fn actions(store: &Relational) -> Vec<String> {
    let log = store.audit_log(None, None, 50).await.unwrap();
    log.into_iter().map(|entry| entry.action).collect()
}

async fn accept(store: &Relational, slug: &str) -> CategorySlug {
    let slug: CategorySlug = slug.parse().unwrap();
    let category = CategoryRecord { slug: slug.clone(), label: slug.to_string(), hint: None, accepted: true };
    assert!(store.put_category(&category, None).await.unwrap());
    slug
}

pub async fn a_book_reads_back_as_it_was(two: &TwoStores) {
    let (crime, classic) = (accept(&two.one, "crime").await, accept(&two.one, "classic").await);
    let new = NewBook {
        description: Some("Line\nbreak ' \" \\ \u{1F600}".to_owned()),
        categories: vec![crime.clone(), classic.clone()],
        status: BookStatus::Draft,
        ..titled("L'Étranger % _")
    };
    let at = now();
    let created = stored(two.one.create_book(&new, Some(&entry("book_created")), at).await.unwrap());

    let read = two.other.book(new.id).await.unwrap().unwrap();

    assert_eq!(read, created);
    assert_eq!((read.id, &read.title, &read.author), (new.id, &new.title, &new.author));
    assert_eq!(
        (read.language, read.price, read.description),
        (new.language.clone(), new.price, new.description.clone())
    );
    assert_eq!((read.status, read.version, read.created_at, read.updated_at), (BookStatus::Draft, 1, at, at));
    assert_eq!(read.categories, [crime, classic.clone()]);
    assert!(read.content_type.is_none() && !read.has_preview && !read.has_cover && read.duration.is_none());
    assert_eq!(two.other.create_book(&new, None, at).await.unwrap(), BookWriteOutcome::Taken);
    assert_eq!(two.other.book(BookId::now()).await.unwrap(), None);

    let change = BookChange {
        price: Some(None),
        description: Some(None),
        categories: Some(vec![classic.clone()]),
        status: Some(BookStatus::Hidden),
        ..BookChange::default()
    };
    let later = at + SignedDuration::from_secs(1);
    let changed = stored(two.other.change_book(new.id, Some(1), &change, None, later).await.unwrap());
    assert_eq!((changed.price, changed.description, changed.status), (None, None, BookStatus::Hidden));
    assert_eq!((changed.version, changed.updated_at, changed.categories), (2, later, vec![classic]));
    assert_eq!((changed.title, changed.created_at), (new.title, at));
}

pub async fn of_many_changes_of_one_version_one_is_stored(two: &TwoStores) {
    let book = sell(&two.one, "Emma").await;
    let changes = (0..20).map(|number| async move {
        let store = if number % 2 == 0 { &two.one } else { &two.other };
        let change = BookChange { price: Some(Some(euros(number))), ..BookChange::default() };
        store.change_book(book.id, Some(1), &change, Some(&entry("book_price_changed")), now()).await.unwrap()
    });
    let outcomes = join_all(changes).await;
    let stored = outcomes.iter().filter(|outcome| matches!(outcome, BookWriteOutcome::Stored(_))).count();
    let changed = outcomes.iter().filter(|outcome| matches!(outcome, BookWriteOutcome::Changed(_))).count();
    assert_eq!((stored, changed), (1, 19), "{outcomes:?}");
    assert_eq!(two.other.book(book.id).await.unwrap().unwrap().version, 2);
    assert_eq!(actions(&two.other).await, ["book_price_changed"], "a refused change has no entry");
}

pub async fn a_deleted_book_is_not_changed_and_not_listed(two: &TwoStores) {
    let book = sell(&two.one, "Emma").await;
    let deleted = stored(two.one.delete_book(book.id, Some(&entry("book_deleted")), now()).await.unwrap());
    assert_eq!(deleted.status, BookStatus::Deleted);
    let again = stored(two.other.delete_book(book.id, Some(&entry("book_deleted")), now()).await.unwrap());
    assert_eq!(again, deleted);
    assert_eq!(actions(&two.other).await, ["book_deleted"], "once");
    let change = two.other.change_book(book.id, None, &BookChange::default(), None, now()).await.unwrap();
    assert_eq!(change, BookWriteOutcome::Changed(Box::new(deleted.clone())));
    let ready = [BookStatus::Ready, BookStatus::Hidden];
    let set = two.other.set_book_status(book.id, &ready, BookStatus::Ready, None, now()).await.unwrap();
    assert_eq!(set, BookWriteOutcome::Changed(Box::new(deleted)));
    for query in [None, Some("emma")] {
        assert_eq!(found(two, query, None, &ready).await, Vec::<String>::new());
        assert_eq!(found(two, query, None, &[BookStatus::Deleted]).await, ["Emma"]);
    }
    assert_eq!(two.one.delete_book(BookId::now(), None, now()).await.unwrap(), BookWriteOutcome::Unknown);
    let unknown = two.one.change_book(BookId::now(), None, &BookChange::default(), None, now()).await.unwrap();
    assert_eq!(unknown, BookWriteOutcome::Unknown);
}

/// The titles of the books that are found, newest first.
async fn found(
    two: &TwoStores,
    query: Option<&str>,
    category: Option<&CategorySlug>,
    statuses: &[BookStatus],
) -> Vec<String> {
    let filter =
        BookFilter { query: query.map(str::to_owned), category: category.cloned(), statuses: statuses.to_vec() };
    let books = two.other.books(&filter, None, 50).await.unwrap();
    books.into_iter().map(|book| book.title).collect()
}

pub async fn books_are_found_by_words_category_and_status(two: &TwoStores) {
    let (crime, love) = (accept(&two.one, "crime").await, accept(&two.one, "love-story").await);
    let ready = [BookStatus::Ready];
    for (title, author, description, categories, status) in [
        ("Émile et les détectives", "Erich Kästner", None, vec![crime.clone()], BookStatus::Ready),
        ("Emma", "Jane Austen", Some("A matchmaker in Highbury"), vec![love.clone()], BookStatus::Ready),
        ("Persuasion", "Jane Austen", None, vec![love.clone(), crime.clone()], BookStatus::Hidden),
        ("Преступление и наказание", "Fyodor Dostoevsky", None, vec![crime.clone()], BookStatus::Ready),
        ("20,000 Leagues O'Neil-style", "Jules Verne", None, Vec::new(), BookStatus::Ready),
    ] {
        let book = NewBook { author: author.to_owned(), categories, status, ..titled(title) };
        put(&two.one, &NewBook { description: description.map(str::to_owned), ..book }).await;
    }
    for (query, title) in [
        ("emile detectives", "Émile et les détectives"),
        ("ÉMILE Kastner", "Émile et les détectives"),
        ("kasTN", "Émile et les détectives"),
        ("match", "Emma"),
        ("  highbury,  AUSTEN ", "Emma"),
        ("наказ", "Преступление и наказание"),
        ("20 000 leag", "20,000 Leagues O'Neil-style"),
        ("o neil", "20,000 Leagues O'Neil-style"),
        ("'neil' & style", "20,000 Leagues O'Neil-style"),
    ] {
        assert_eq!(found(two, Some(query), None, &ready).await, [title], "{query}");
    }
    // A word that is not the last one is whole; an operator of a search is no word; a status and a category are none either.
    for query in [
        "ma emma",
        "emm austen",
        "emma NOT jane",
        "em*a",
        "!",
        "status",
        "=status-ready",
        "cat",
        "category=crime",
        "persua",
    ] {
        assert_eq!(found(two, Some(query), None, &ready).await, Vec::<String>::new(), "{query}");
    }
    assert_eq!(found(two, Some("em"), None, &ready).await, ["Emma", "Émile et les détectives"]);
    assert_eq!(found(two, None, Some(&love), &ready).await, ["Emma"]);
    assert_eq!(found(two, Some("jane"), Some(&crime), &ready).await, Vec::<String>::new());
    let both = [BookStatus::Hidden, BookStatus::Ready, BookStatus::Ready];
    assert_eq!(found(two, Some("jane"), Some(&crime), &both).await, ["Persuasion"]);
    assert_eq!(found(two, Some(" \n"), None, &both).await.len(), 5, "a blank query is none");
    assert_eq!(found(two, Some("emma"), None, &[]).await, Vec::<String>::new());
    assert_eq!(found(two, None, None, &[]).await, Vec::<String>::new());
}

pub async fn a_changed_book_is_found_by_its_new_words_alone(two: &TwoStores) {
    let crime = accept(&two.one, "crime").await;
    let book = sell(&two.one, "Lady Susan").await;
    let change = BookChange {
        title: Some("Sanditon".to_owned()),
        categories: Some(vec![crime.clone()]),
        ..BookChange::default()
    };
    stored(two.one.change_book(book.id, None, &change, None, now()).await.unwrap());
    let ready = [BookStatus::Ready];
    assert_eq!(found(two, Some("susan"), None, &ready).await, Vec::<String>::new());
    assert_eq!(found(two, Some("sand"), Some(&crime), &ready).await, ["Sanditon"]);
    let hidden = two.one.set_book_status(book.id, &ready, BookStatus::Hidden, None, now()).await.unwrap();
    assert_eq!(stored(hidden).version, 3);
    assert_eq!(found(two, Some("sand"), None, &ready).await, Vec::<String>::new());
    assert_eq!(found(two, Some("sand"), None, &[BookStatus::Hidden]).await, ["Sanditon"]);
    // A change that was not committed is in no index.
    let refused = BookChange { title: Some("Other".to_owned()), ..BookChange::default() };
    let outcome = two.one.change_book(book.id, Some(1), &refused, None, now()).await.unwrap();
    assert!(matches!(outcome, BookWriteOutcome::Changed(_)));
    assert_eq!(found(two, Some("other"), None, &BookStatus::ALL).await, Vec::<String>::new());
}

pub async fn books_are_listed_without_gap_or_repeat(two: &TwoStores) {
    let at = now();
    let mut added = Vec::new();
    for number in 0..23 {
        let status = if number % 5 == 0 { BookStatus::Hidden } else { BookStatus::Ready };
        let new = NewBook { status, ..titled(&format!("Volume {number}")) };
        added.push(stored(two.one.create_book(&new, None, at).await.unwrap()));
    }
    let expected: Vec<_> = added.iter().rev().filter(|book| book.status == BookStatus::Ready).cloned().collect();
    for query in [None, Some("volume".to_owned())] {
        let filter = BookFilter { query, category: None, statuses: vec![BookStatus::Ready] };
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let page = two.other.books(&filter, cursor.as_ref(), 4).await.unwrap();
            let Some(last) = page.last() else { break };
            cursor = Some(last.cursor());
            listed.extend(page);
        }
        assert_eq!(listed, expected, "{filter:?}");
        for (id, count) in [("no number", 0), ("-1", 0), ("9223372036854775807", 18), ("'; --", 0)] {
            let made_up = PageCursor { at, id: id.to_owned() };
            assert_eq!(two.other.books(&filter, Some(&made_up), 50).await.unwrap().len(), count, "{id}");
        }
    }
}

pub async fn a_book_has_accepted_categories_only(two: &TwoStores) {
    let crime = accept(&two.one, "crime").await;
    let proposed: CategorySlug = "nordic-noir".parse().unwrap();
    let record = CategoryRecord {
        slug: proposed.clone(),
        label: "Nordic noir".to_owned(),
        hint: Some("Crime in snow".to_owned()),
        accepted: false,
    };
    assert!(two.one.put_category(&record, Some(&entry("category_put"))).await.unwrap());
    let refused = BookWriteOutcome::UnknownCategory(proposed.clone());
    let new = NewBook { categories: vec![crime.clone(), proposed.clone()], ..titled("Emma") };
    assert_eq!(two.other.create_book(&new, None, now()).await.unwrap(), refused);
    assert_eq!(two.other.book(new.id).await.unwrap(), None);
    let book = put(&two.one, &NewBook { categories: vec![crime.clone()], ..new }).await;
    let change = BookChange { categories: Some(vec![proposed.clone()]), ..BookChange::default() };
    assert_eq!(two.other.change_book(book.id, None, &change, None, now()).await.unwrap(), refused);
    assert_eq!(two.other.book(book.id).await.unwrap().unwrap().categories, std::slice::from_ref(&crime));

    let accepted = CategoryRecord { accepted: true, ..record };
    assert!(two.one.put_category(&accepted, None).await.unwrap());
    assert_eq!(two.other.category(&proposed).await.unwrap().as_ref(), Some(&accepted));
    let slugs: Vec<_> = two.other.categories().await.unwrap().into_iter().map(|category| category.slug).collect();
    assert_eq!(slugs, [crime, proposed]);
    let changed = stored(two.other.change_book(book.id, None, &change, None, now()).await.unwrap());
    assert_eq!(Some(changed.categories), change.categories);

    let mut many = Vec::new();
    for number in 0..=MAX_CATEGORIES_OF_BOOK {
        many.push(accept(&two.one, &format!("category-{number}")).await);
    }
    let last = many.last().cloned().unwrap();
    let too_many = BookChange { categories: Some(many), ..BookChange::default() };
    let outcome = two.other.change_book(book.id, None, &too_many, None, now()).await.unwrap();
    assert_eq!(outcome, BookWriteOutcome::UnknownCategory(last));
}

pub async fn a_category_that_two_add_at_once_is_added_once(two: &TwoStores) {
    let puts = (0..20).map(|number| async move {
        let store = if number % 2 == 0 { &two.one } else { &two.other };
        accept(store, "crime").await
    });
    join_all(puts).await;
    assert_eq!(two.one.categories().await.unwrap().len(), 1);
}

pub async fn a_removed_category_is_on_no_book(two: &TwoStores) {
    let (crime, love) = (accept(&two.one, "crime").await, accept(&two.one, "love").await);
    let mut books = Vec::new();
    for number in 0..120 {
        let categories = vec![crime.clone(), love.clone()];
        books.push(put(&two.one, &NewBook { categories, ..titled(&format!("Volume {number}")) }).await.id);
    }
    assert!(two.one.remove_category(&crime, Some(&entry("category_removed")), now()).await.unwrap());
    assert!(!two.other.remove_category(&crime, Some(&entry("category_removed")), now()).await.unwrap());
    assert_eq!(actions(&two.other).await, ["category_removed"]);
    for id in books {
        assert_eq!(two.other.book(id).await.unwrap().unwrap().categories, std::slice::from_ref(&love));
    }
    assert_eq!(found(two, None, Some(&crime), &BookStatus::ALL).await, Vec::<String>::new());
    assert_eq!(found(two, None, Some(&love), &BookStatus::ALL).await.len(), 50);
    assert_eq!(two.other.category(&crime).await.unwrap(), None);
}
