//! Who sees which books, and their changes.

use contracts::BookStatus;
use shop::{BookFields, BookQuery, NewBookFields, ShopError, Viewer};
use store::relational::CategoryRecord;

use crate::test_shop::{TestShop, code, euro};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_find_ready_books_only() {
    let shop = TestShop::new().await;
    let user = Viewer::user(shop.user("ann").await);
    let [draft, ready, hidden, deleted] = [
        shop.draft("Draft", 100).await,
        shop.book("Ready", 100).await,
        shop.book("Hidden", 100).await,
        shop.book("Deleted", 100).await,
    ];
    shop.one.hide_book(hidden, &shop.actor).await.unwrap();
    shop.one.delete_book(deleted, &shop.actor).await.unwrap();
    shop.one.delete_book(deleted, &shop.actor).await.unwrap();

    let listed = shop.other.books(&user, &BookQuery::default(), None, 50).await.unwrap();
    assert_eq!(listed.iter().map(|book| book.id).collect::<Vec<_>>(), [ready]);
    for invisible in [draft, hidden, deleted] {
        assert_eq!(code(shop.other.book(&user, invisible).await), Some("not_found"));
        assert_eq!(code(shop.other.add_to_cart(user.user.unwrap(), invisible).await), Some("not_found"));
    }
    let asked = BookQuery { statuses: vec![BookStatus::Hidden], ..BookQuery::default() };
    assert_eq!(code(shop.other.books(&user, &asked, None, 50).await), Some("invalid"));
    let hidden_found = BookQuery { query: Some("Hidden".to_owned()), ..BookQuery::default() };
    assert!(shop.other.books(&user, &hidden_found, None, 50).await.unwrap().is_empty());

    let all = shop.other.books(&shop.as_admin(), &BookQuery::default(), None, 50).await.unwrap();
    assert_eq!(all.iter().map(|book| book.id).collect::<Vec<_>>(), [hidden, ready, draft]);
    assert_eq!(shop.other.book(&shop.as_admin(), deleted).await.unwrap().status, BookStatus::Deleted);
    assert_eq!(code(shop.one.publish_book(deleted, &shop.actor).await), Some("book_deleted"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cart_shows_only_the_name_of_a_hidden_book() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 100).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.one.hide_book(book, &shop.actor).await.unwrap();
    let secret = BookFields { description: Some(Some("not for users".to_owned())), ..BookFields::default() };
    shop.one.change_book(book, secret, None, &shop.actor).await.unwrap();
    let line = shop.other.cart(user).await.unwrap().lines.remove(0);
    assert_eq!((line.book.title.as_str(), line.book.status), ("Emma", BookStatus::Hidden));
    assert_eq!((line.price, line.book.price, &line.book.description), (None, None, &None));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_book_comes_back_when_it_is_published() {
    let shop = TestShop::new().await;
    let (user, book) = (Viewer::user(shop.user("ann").await), shop.book("Emma", 100).await);
    shop.one.hide_book(book, &shop.actor).await.unwrap();
    assert_eq!(shop.one.hide_book(book, &shop.actor).await.unwrap().status, BookStatus::Hidden);
    assert_eq!(shop.one.publish_book(book, &shop.actor).await.unwrap().status, BookStatus::Ready);
    assert_eq!(shop.other.book(&user, book).await.unwrap().id, book);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_book_is_not_published() {
    let shop = TestShop::new().await;
    let new = NewBookFields { title: "Emma".to_owned(), ..NewBookFields::default() };
    let book = shop.one.create_book(new, &shop.actor).await.unwrap().id;
    let refused = shop.one.publish_book(book, &shop.actor).await.unwrap_err();
    assert_eq!(refused, ShopError::Incomplete(vec!["price", "audio file"]));
    assert!(refused.to_string().ends_with("it has no price, no audio file"), "{refused}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_values_are_refused_by_their_field() {
    let shop = TestShop::new().await;
    let book = shop.draft("Emma", 100).await;
    for price in [-1, i64::MIN, i64::MAX] {
        let change = BookFields { price: Some(euro(price)), ..BookFields::default() };
        let refused = shop.one.change_book(book, change, None, &shop.actor).await.unwrap_err();
        assert_eq!(refused.field(), Some("price"), "{price}");
    }
    let change = BookFields { categories: Some(vec!["nowhere".parse().unwrap()]), ..BookFields::default() };
    let refused = shop.one.change_book(book, change, None, &shop.actor).await.unwrap_err();
    assert_eq!(refused.field(), Some("categories"));
    assert_eq!(shop.one.book(&shop.as_admin(), book).await.unwrap().price, Some(euro(100)));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_an_old_version_is_refused() {
    let shop = TestShop::new().await;
    let book = shop.draft("Emma", 100).await;
    let version = shop.one.book(&shop.as_admin(), book).await.unwrap().version;
    let titled = |title: &str| BookFields { title: Some(title.to_owned()), ..BookFields::default() };
    let changed = shop.one.change_book(book, titled("Emma I"), Some(version), &shop.actor).await.unwrap();
    assert!(changed.version > version);
    let refused = shop.other.change_book(book, titled("Emma II"), Some(version), &shop.actor).await;
    assert_eq!(code(refused), Some("version_conflict"));
    assert_eq!(shop.other.change_book(book, titled("Emma II"), None, &shop.actor).await.unwrap().title, "Emma II");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_has_both_prices_of_a_change() {
    let shop = TestShop::new().await;
    let book = shop.draft("Emma", 100).await;
    let change = BookFields { price: Some(euro(250)), ..BookFields::default() };
    shop.one.change_book(book, change, None, &shop.actor).await.unwrap();
    shop.one.delete_book(book, &shop.actor).await.unwrap();
    let log = shop.database.audit_log(None, None, 20).await.unwrap();
    let entry = |action: &str| log.iter().find(|entry| entry.action == action).cloned().unwrap();
    let changed = entry("book_price_changed");
    assert_eq!(changed.actor, Some(shop.admin));
    assert_eq!(changed.detail, Some(format!("{book}: price 1.00 EUR to price 2.50 EUR")));
    assert_eq!(entry("book_deleted").detail, Some(book.to_string()));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_filtered_by_words_and_category() {
    let shop = TestShop::new().await;
    let slug = "classics".parse().unwrap();
    let category = CategoryRecord { slug, label: " Classics ".to_owned(), hint: None, accepted: true };
    assert_eq!(shop.one.put_category(category, &shop.actor).await.unwrap().label, "Classics");
    let (emma, _) = (shop.book("Emma", 100).await, shop.book("Persuasion", 100).await);
    let change = BookFields { categories: Some(vec!["classics".parse().unwrap()]), ..BookFields::default() };
    shop.one.change_book(emma, change, None, &shop.actor).await.unwrap();

    let user = Viewer::user(shop.user("ann").await);
    let query = |query: Option<&str>, category: Option<&str>| BookQuery {
        query: query.map(str::to_owned),
        category: category.map(|slug| slug.parse().unwrap()),
        statuses: Vec::new(),
    };
    for (asked, found) in [
        (query(None, None), 2),
        (query(Some("emm"), None), 1),
        (query(None, Some("classics")), 1),
        (query(Some("persuasion"), Some("classics")), 0),
    ] {
        assert_eq!(shop.other.books(&user, &asked, None, 50).await.unwrap().len(), found, "{asked:?}");
    }
    let long = query(Some(&"x".repeat(201)), None);
    assert_eq!(code(shop.other.books(&user, &long, None, 50).await), Some("invalid"));
    assert_eq!(code(shop.one.remove_category(&"nowhere".parse().unwrap(), &shop.actor).await), Some("not_found"));
    shop.stop().await;
}
