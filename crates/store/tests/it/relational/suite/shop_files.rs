//! Files of books, and the work on them.

use contracts::{AssetKind, BookId, BookStatus, MediaStep, PipelineState};
use jiff::{SignedDuration, Timestamp};
use store::relational::{AssetRecord, AssetWriteOutcome, PipelineExtras, PipelineRecord};
use store::{MediaKey, Relational};

use super::shop_books::{sell, stored};
use super::shop_orders::{buy, refund};
use crate::relational::{TwoStores, add, now};

pub fn file(book: BookId, kind: AssetKind) -> AssetRecord {
    AssetRecord {
        book,
        kind,
        key: MediaKey::new(book, kind),
        bytes: 5_000_000_000,
        sha256: [7; 32],
        content_type: "audio/mpeg".to_owned(),
        file_name: "Emma \u{1F600}.mp3".to_owned(),
        duration: Some(std::time::Duration::from_millis(3_600_001)),
        stored_at: now(),
    }
}

pub async fn put(store: &Relational, asset: &AssetRecord) -> Option<AssetRecord> {
    let outcome = store.put_asset(asset, now()).await.unwrap();
    let AssetWriteOutcome::Stored { replaced } = outcome else { unreachable!("the book is there: {outcome:?}") };
    replaced.map(|replaced| *replaced)
}

/// The keys of objects that are to be deleted, in the order of their texts.
async fn to_delete(store: &Relational) -> Vec<MediaKey> {
    let mut keys = store.media_to_delete(Timestamp::now() + SignedDuration::from_hours(1), 50).await.unwrap();
    keys.sort_by_key(ToString::to_string);
    keys
}

fn keys<const N: usize>(assets: [&AssetRecord; N]) -> Vec<MediaKey> {
    let mut keys: Vec<MediaKey> = assets.into_iter().map(|asset| asset.key).collect();
    keys.sort_by_key(ToString::to_string);
    keys
}

pub async fn a_replaced_file_is_deleted_later(two: &TwoStores) {
    let book = sell(&two.one, "Emma").await.id;
    let (first, preview) = (file(book, AssetKind::Master), file(book, AssetKind::Preview));
    assert_eq!(put(&two.one, &first).await, None);
    assert_eq!(put(&two.one, &preview).await, None);
    assert_eq!(two.other.asset(book, AssetKind::Master).await.unwrap().as_ref(), Some(&first));
    let read = two.other.book(book).await.unwrap().unwrap();
    assert_eq!((read.content_type.as_deref(), read.has_preview, read.has_cover), (Some("audio/mpeg"), true, false));
    assert_eq!(read.duration, first.duration);
    assert_eq!(put(&two.other, &first).await, None, "again: the same");
    assert_eq!(two.other.assets(book).await.unwrap(), [first.clone(), preview.clone()]);
    assert_eq!(to_delete(&two.other).await, []);

    let second = AssetRecord { content_type: "audio/flac".to_owned(), ..file(book, AssetKind::Master) };
    assert_eq!(put(&two.other, &second).await.as_ref(), Some(&first));

    assert_eq!(two.one.assets(book).await.unwrap(), std::slice::from_ref(&second), "the preview was of the first");
    assert_eq!(to_delete(&two.one).await, keys([&first, &preview]));
    assert_eq!(two.one.media_to_delete(now() - SignedDuration::from_hours(1), 50).await.unwrap(), []);
    two.one.media_deleted(&keys([&first, &preview])).await.unwrap();
    assert_eq!(to_delete(&two.other).await, []);
    assert_eq!(two.one.remove_asset(book, AssetKind::Master, now()).await.unwrap().as_ref(), Some(&second));
    assert_eq!(two.one.remove_asset(book, AssetKind::Master, now()).await.unwrap(), None);
    assert_eq!(to_delete(&two.other).await, keys([&second]));
}

pub async fn an_object_whose_file_was_never_stored_is_deleted(two: &TwoStores) {
    let book = sell(&two.one, "Emma").await.id;
    let (lost, kept) = (file(book, AssetKind::Cover), file(book, AssetKind::Cover));
    for _ in 0..2 {
        two.one.forget_media(&keys([&lost, &kept]), now()).await.unwrap();
    }
    put(&two.other, &kept).await;
    assert_eq!(to_delete(&two.one).await, keys([&lost]));
    let of_nobody = file(BookId::now(), AssetKind::Cover);
    assert_eq!(two.one.put_asset(&of_nobody, now()).await.unwrap(), AssetWriteOutcome::UnknownBook);
    stored(two.one.delete_book(book, None, now()).await.unwrap());
    let late = two.other.put_asset(&file(book, AssetKind::Cover), now()).await.unwrap();
    assert_eq!(late, AssetWriteOutcome::UnknownBook, "a deleted book gets no file");
    assert_eq!(to_delete(&two.one).await, keys([&lost, &kept]));
}

pub async fn the_files_of_a_deleted_book_stay_until_its_last_buyer_is_gone(two: &TwoStores) {
    let (ann, ben) = (add(&two.one, "ann").await, add(&two.one, "ben").await);
    let book = sell(&two.one, "Emma").await.id;
    let master = file(book, AssetKind::Master);
    put(&two.one, &master).await;
    let of_ann = buy(two, ann, &[book]).await;
    buy(two, ben, &[book]).await;

    stored(two.one.delete_book(book, None, now()).await.unwrap());

    assert_eq!(two.other.sweep_deleted_books(now(), 50).await.unwrap(), 0, "both have it");
    refund(&two.one, of_ann.id).await;
    assert!(!two.one.entitled(ann, book).await.unwrap() && two.one.entitled(ben, book).await.unwrap());
    assert_eq!(two.other.sweep_deleted_books(now(), 50).await.unwrap(), 0, "one has it");
    assert_eq!(to_delete(&two.one).await, []);
    assert!(two.one.delete_user(ben, now(), now()).await.unwrap());
    assert_eq!(two.other.sweep_deleted_books(now(), 50).await.unwrap(), 1);
    assert_eq!(two.other.sweep_deleted_books(now(), 50).await.unwrap(), 0);
    assert_eq!(to_delete(&two.one).await, keys([&master]));
}

pub async fn the_work_on_a_book_is_claimed_by_one(two: &TwoStores) {
    let at = now();
    let until = at + SignedDuration::from_mins(5);
    let due = async |by: Timestamp| {
        let books = two.other.previews_due(by, 50).await.unwrap();
        books.into_iter().map(|book| book.id).collect::<Vec<BookId>>()
    };
    let book = sell(&two.one, "Emma").await.id;
    assert_eq!(due(until).await, [], "without a master");
    put(&two.one, &file(book, AssetKind::Master)).await;
    assert_eq!(due(until).await, [book]);

    assert!(two.one.claim_book_work(book, 0, until).await.unwrap());
    assert!(!two.other.claim_book_work(book, 0, until).await.unwrap());
    assert_eq!(due(at).await, []);
    assert_eq!(due(until).await, [book], "a crash of the one that claimed it is made good");
    assert!(two.other.claim_book_work(book, 1, until).await.unwrap());
    assert!(two.one.set_book_fault(book, Some("truncated"), 2, None, now()).await.unwrap());
    assert_eq!(due(until).await, []);
    let read = two.other.book(book).await.unwrap().unwrap();
    assert_eq!((read.fault.as_deref(), read.preview_attempts, read.preview_after), (Some("truncated"), 2, None));

    put(&two.one, &file(book, AssetKind::Master)).await;
    let read = two.other.book(book).await.unwrap().unwrap();
    assert_eq!((read.fault, read.preview_attempts), (None, 0), "a new file has a new chance");
    assert_eq!(due(until).await, [book]);
    put(&two.one, &file(book, AssetKind::Preview)).await;
    assert_eq!(due(until).await, []);
    assert!(!two.one.set_book_fault(BookId::now(), None, 0, None, now()).await.unwrap());
}

pub async fn books_that_stay_in_processing_are_found(two: &TwoStores) {
    let at = now();
    let book = sell(&two.one, "Emma").await.id;
    let processing = two.one.set_book_status(book, &[BookStatus::Ready], BookStatus::Processing, None, at).await;
    assert_eq!(stored(processing.unwrap()).status, BookStatus::Processing);
    let found = async |older_than, in_pipeline| -> Vec<BookId> {
        let found = two.other.books_processing(older_than, in_pipeline, 50).await.unwrap();
        found.into_iter().map(|book| book.id).collect()
    };
    let later = at + SignedDuration::from_secs(1);
    assert_eq!(found(at, false).await, []);
    assert_eq!(found(later, false).await, [book]);

    let at_work = super::pipelines::begun_for(&two.one, book).await;
    assert_eq!((found(later, false).await, found(later, true).await), (Vec::new(), vec![book]));
    let done = PipelineRecord { step: MediaStep::Done, state: PipelineState::Done, wake_at: None, ..at_work.clone() };
    let none = PipelineExtras::default();
    two.one.put_pipeline(&done, Some(at_work.revision), &none, at).await.unwrap().unwrap();
    assert_eq!(found(later, false).await, [book]);
}
