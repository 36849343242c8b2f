//! Links to files and to uploads.

use std::time::Duration;

use accounts::{Actor, LinkKind};
use contracts::{AssetKind, BookId};
use shop::{UploadRequest, Viewer};
use store::relational::{AccessChange, Role};
use testing::eventually;
use tokio::time::Instant;

use crate::test_shop::{TestShop, code, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_buyers_and_admins_get_a_link_to_the_whole_book() {
    let shop = TestShop::new().await;
    let (book, hidden) = (shop.book("Emma", 999).await, shop.book("Persuasion", 999).await);
    let buyer = shop.shopper("ann", &[book, hidden]).await;
    shop.one.checkout(buyer, None, None).await.unwrap();
    shop.one.hide_book(hidden, &shop.actor).await.unwrap();
    let (buyer, other) = (Viewer::user(buyer), Viewer::user(shop.user("bob").await));
    for id in [book, hidden] {
        for allowed in [&buyer, &shop.as_admin()] {
            let link = shop.one.link(allowed, id, AssetKind::Master).await.unwrap();
            shop.other.open_link(&token(link)).await.unwrap();
        }
    }
    assert_eq!(code(shop.one.link(&other, book, AssetKind::Master).await), Some("not_bought"));
    assert_eq!(code(shop.one.link(&other, hidden, AssetKind::Master).await), Some("not_found"));
    assert_eq!(code(shop.one.link(&other, hidden, AssetKind::Preview).await), Some("not_found"));
    shop.one.link(&other, book, AssetKind::Preview).await.unwrap();
    // The operator's own token acts for the operator's user.
    let link = shop.one.link(&Viewer::admin(None), book, AssetKind::Master).await.unwrap();
    shop.other.open_link(&token(link)).await.unwrap();
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_keeps_a_deleted_book_until_the_last_is_gone() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let order = shop.one.checkout(user, None, None).await.unwrap();
    shop.one.delete_book(book, &shop.actor).await.unwrap();
    shop.work_after(Duration::from_secs(3 * 24 * 60 * 60)).await;
    let link = shop.one.link(&Viewer::user(user), book, AssetKind::Master).await.unwrap();
    shop.other.open_link(&token(link)).await.unwrap();
    let key = shop.database.asset(book, AssetKind::Master).await.unwrap().unwrap().key;

    shop.one.refund(order.id, "asked for it", &shop.actor).await.unwrap();
    shop.other.work_once().await.unwrap();
    shop.work_after(Duration::from_secs(3 * 24 * 60 * 60)).await;
    assert_eq!(shop.media.head(&key).await.unwrap(), None);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_expired_and_foreign_tokens_open_nothing() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.one.checkout(user, None, None).await.unwrap();
    let link = token(shop.one.link(&Viewer::user(user), book, AssetKind::Master).await.unwrap());
    let ticket = shop.one.begin_upload(shop.admin, book, UploadRequest::default()).await.unwrap();
    let (head, signature) = link.rsplit_once('.').unwrap();
    let mut wrong = vec![String::new(), "a.b.c".to_owned(), format!("{head}."), ticket.token.expose().to_owned()];
    wrong.extend((0..40).map(|n| {
        // Each other first character of the signature.
        let mut forged = signature.to_owned();
        let letter = char::from(b'A' + n % 26);
        let letter = if forged.starts_with(letter) { '_' } else { letter };
        forged.replace_range(..1, &letter.to_string());
        format!("{head}.{forged}")
    }));
    for token in &wrong {
        assert_eq!(code(shop.other.open_link(token).await), Some("link_invalid"), "{}", token.len());
    }
    assert_eq!(code(shop.other.open_upload(&link).await), Some("link_invalid"));
    shop.other.open_link(&link).await.unwrap();
    shop.clock.advance(LinkKind::Media.life() + Duration::from_secs(1));
    assert_eq!(code(shop.other.open_link(&link).await), Some("link_invalid"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_within_a_second_with_its_user() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.one.checkout(user, None, None).await.unwrap();
    let link = token(shop.one.link(&Viewer::user(user), book, AssetKind::Master).await.unwrap());
    let opened = shop.other.open_link(&link).await.unwrap();
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    shop.accounts.change_access(user, &disable, &shop.actor).await.unwrap();
    let started = Instant::now();
    eventually("the link is refused", async || code(shop.other.open_link(&link).await) == Some("link_invalid")).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(code(shop.other.still_allowed(&opened).await), Some("link_invalid"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_link_is_one_of_an_admin() {
    let shop = TestShop::new().await;
    let book = shop.draft("Emma", 999).await;
    let ticket = shop.one.begin_upload(shop.admin, book, UploadRequest::default()).await.unwrap();
    let upload = shop.other.open_upload(ticket.token.expose()).await.unwrap();
    assert_eq!((upload.id, upload.book), (ticket.upload.id, book));
    let again = shop.one.upload_ticket(shop.admin, book, UploadRequest::default()).await.unwrap();
    assert_eq!(again.upload.id, upload.id, "the same upload, with a new link");

    let demoted = AccessChange { role: Some(Role::User), ..AccessChange::default() };
    shop.accounts.change_access(shop.admin, &demoted, &Actor::default()).await.unwrap();
    let refused = async || code(shop.other.open_upload(ticket.token.expose()).await) == Some("link_invalid");
    eventually("the link of a former admin is refused", refused).await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_has_no_link() {
    let shop = TestShop::new().await;
    let draft = shop.draft("Emma", 999).await;
    assert_eq!(code(shop.one.link(&shop.as_admin(), draft, AssetKind::Master).await), Some("not_found"));
    assert_eq!(code(shop.one.link(&shop.as_admin(), BookId::now(), AssetKind::Master).await), Some("not_found"));
    shop.stop().await;
}
