//! From an upload to the bytes at a buyer.

use std::time::Duration;

use bytes::Bytes;
use contracts::{AssetKind, BookId, BookStatus};
use sha2::{Digest, Sha256};
use shop::{MAX_COVER, NewBookFields, ShopError, UploadRequest, Viewer};

use crate::test_shop::{TestShop, bytes, code, token};
use crate::wav::wav;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_goes_from_its_upload_to_its_buyer() {
    let shop = TestShop::new().await;
    let (content, id) = (wav(90), shop.draft("Emma", 999).await);
    let upload = shop.upload(id, &content).await;
    let book = shop.finish(upload).await.unwrap();
    assert_eq!((book.status, book.duration), (BookStatus::Ready, Some(Duration::from_secs(90))));
    assert!(book.has_preview && book.content_type.as_deref().is_some_and(|kind| kind.starts_with("audio/")));
    assert_eq!(shop.finish(upload).await.unwrap().version, book.version, "again: the same");

    let user = shop.shopper("ann", &[id]).await;
    shop.one.checkout(user, None, None).await.unwrap();
    let link = shop.one.link(&Viewer::user(user), id, AssetKind::Master).await.unwrap();
    let opened = shop.other.open_link(&token(link)).await.unwrap();
    assert_eq!((opened.bytes, opened.user()), (content.len() as u64, Some(user)));
    assert_eq!(opened.file_name, "tone.wav");
    let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(opened.etag, format!("\"{hash}\""));
    assert!(bytes(&opened, 0..opened.bytes).await == content, "all bytes");
    assert_eq!(bytes(&opened, 1_000..1_010).await, content[1_000..1_010]);
    shop.other.still_allowed(&opened).await.unwrap();

    let preview = shop.other.open_asset(&Viewer::user(user), id, AssetKind::Preview).await.unwrap();
    assert!(preview.bytes > 0 && preview.bytes < opened.bytes, "{} of {}", preview.bytes, opened.bytes);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_file_is_named_and_deleted() {
    let shop = TestShop::new().await;
    for content in [b"<html>no sound</html>".repeat(100), wav(2)[..40].to_vec(), vec![0; 5_000]] {
        let id = shop.draft("Emma", 999).await;
        let upload = shop.upload(id, &content).await;
        let key = shop.one.upload(upload).await.unwrap().key;
        let refused = shop.finish(upload).await.unwrap_err();
        assert!(matches!(&refused, ShopError::Sound { code, .. } if !code.is_empty()), "{refused:?}");
        assert_eq!(shop.media.head(&key).await.unwrap(), None, "the file is deleted");
        assert_eq!(code(shop.finish(upload).await), Some("upload_gone"));
        let book = shop.one.book(&shop.as_admin(), id).await.unwrap();
        assert_eq!((book.status, book.fault.as_deref()), (BookStatus::Draft, Some(refused.code())));
        // The next file is a new beginning.
        let upload = shop.upload(id, &wav(2)).await;
        let book = shop.finish(upload).await.unwrap();
        assert_eq!((book.status, &book.fault), (BookStatus::Ready, &None));
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_without_a_price_stays_a_draft() {
    let shop = TestShop::new().await;
    let new = NewBookFields { title: "Emma".to_owned(), ..NewBookFields::default() };
    let id = shop.one.create_book(new, &shop.actor).await.unwrap().id;
    let upload = shop.upload(id, &wav(2)).await;
    let book = shop.finish(upload).await.unwrap();
    assert_eq!((book.status, book.has_preview), (BookStatus::Draft, true));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_book_stays_hidden_with_a_new_file() {
    let shop = TestShop::new().await;
    let id = shop.book("Emma", 999).await;
    shop.one.hide_book(id, &shop.actor).await.unwrap();
    let upload = shop.upload(id, &wav(3)).await;
    let book = shop.finish(upload).await.unwrap();
    assert_eq!((book.status, book.duration), (BookStatus::Hidden, Some(Duration::from_secs(3))));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_without_all_bytes_is_not_finished() {
    let shop = TestShop::new().await;
    let id = shop.draft("Emma", 999).await;
    assert_eq!(code(shop.one.complete(id, Duration::ZERO).await), Some("no_file"));
    let request = UploadRequest { length: Some(1_000), ..UploadRequest::default() };
    let ticket = shop.one.begin_upload(shop.admin, id, request).await.unwrap();
    let expected = ShopError::UploadIncomplete { offset: 0, length: Some(1_000) };
    assert_eq!(shop.finish(ticket.upload.id).await.unwrap_err(), expected);
    assert_eq!(shop.one.complete(id, Duration::ZERO).await.unwrap_err(), expected);
    shop.work_after(Duration::from_secs(25 * 60 * 60)).await;
    assert_eq!(code(shop.finish(ticket.upload.id).await), Some("upload_gone"), "it got no bytes for a day");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_refused_before_its_bytes_are_sent() {
    let shop = TestShop::new().await;
    let id = shop.draft("Emma", 999).await;
    let named = |name: &str| UploadRequest { file_name: Some(name.to_owned()), ..UploadRequest::default() };
    let long = |length| UploadRequest { length: Some(length), ..UploadRequest::default() };
    for (request, expected) in
        [(named("../../etc/passwd"), "invalid"), (long(0), "empty_upload"), (long(1 << 40), "upload_too_large")]
    {
        assert_eq!(code(shop.one.begin_upload(shop.admin, id, request).await), Some(expected));
    }
    let unknown = shop.one.begin_upload(shop.admin, BookId::now(), UploadRequest::default()).await;
    assert_eq!(code(unknown), Some("not_found"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cover_is_a_picture_for_those_who_see_the_book() {
    let shop = TestShop::new().await;
    let (id, user) = (shop.book("Emma", 999).await, Viewer::user(shop.user("ann").await));
    let picture = Bytes::from_static(b"\x89PNG\r\n\x1a\nand so on");
    assert_eq!(code(shop.one.set_cover(id, Bytes::from_static(b"<svg/>"), &shop.actor).await), Some("not_an_image"));
    let long = Bytes::from(vec![0; MAX_COVER + 1]);
    assert_eq!(code(shop.one.set_cover(id, long, &shop.actor).await), Some("cover_too_large"));
    assert!(shop.one.set_cover(id, picture.clone(), &shop.actor).await.unwrap().has_cover);
    let cover = shop.other.open_asset(&user, id, AssetKind::Cover).await.unwrap();
    assert_eq!((cover.content_type.as_str(), bytes(&cover, 0..cover.bytes).await), ("image/png", picture.to_vec()));
    shop.one.hide_book(id, &shop.actor).await.unwrap();
    assert_eq!(code(shop.other.open_asset(&user, id, AssetKind::Cover).await), Some("not_found"));
    assert!(!shop.one.remove_cover(id, &shop.actor).await.unwrap().has_cover);
    shop.stop().await;
}
