//! Resumable uploads: their rows, and their end in the media store.

use contracts::{AssetKind, BookId, UploadId};
use jiff::{SignedDuration, Timestamp};
use store::relational::AssetRecord;
use store::{
    MAX_OPEN_UPLOADS, MediaKey, MediaUploadRecord, MediaUploadState, MultipartId, NewMediaUpload, PART_BYTES,
    PartFacts, Relational, UploadProgress, end_media_upload, media_folder, sweep_media,
};
use tempfile::TempDir;

use super::shop_books::sell;
use super::shop_files::{file, put};
use crate::relational::{TwoStores, add, later, now};

fn new() -> NewMediaUpload {
    let book = BookId::now();
    NewMediaUpload {
        id: UploadId::now(),
        book,
        owner: None,
        kind: AssetKind::Master,
        key: MediaKey::new(book, AssetKind::Master),
        length: Some(PART_BYTES + 10),
        content_type: "audio/mpeg".to_owned(),
        file_name: Some("Moby Dick.mp3".to_owned()),
        expires_at: later(),
    }
}

async fn begun(store: &Relational) -> NewMediaUpload {
    let new = new();
    assert!(store.begin_media_upload(&new, now()).await.unwrap());
    new
}

async fn found(store: &Relational, id: UploadId) -> MediaUploadRecord {
    store.media_upload(id, now()).await.unwrap().unwrap()
}

fn part(number: u32, bytes: u64) -> PartFacts {
    PartFacts { number, bytes, tag: format!("tag {number}") }
}

/// What a writer has stored: new parts, and a tail.
fn progress(parts: Vec<PartFacts>, offset: u64, tail: u64) -> UploadProgress {
    UploadProgress { parts, offset, tail, hash_state: vec![7; 32], length: None, expires_at: later() }
}

pub async fn a_media_upload_reads_back_as_it_was(stores: &TwoStores) {
    let store = &stores.one;
    let owner = add(store, "ann").await;
    let new = NewMediaUpload { owner: Some(owner), ..new() };
    assert!(store.begin_media_upload(&new, now()).await.unwrap());
    let id = new.id;
    let first = found(&stores.other, id).await;
    assert_eq!((first.owner, first.book, first.kind, first.key), (Some(owner), new.book, new.kind, new.key));
    assert_eq!((first.length, first.offset, first.tail, first.parts), (new.length, 0, 0, 0));
    assert_eq!((&first.hash_state, &first.multipart, first.state), (&None, &None, MediaUploadState::Open));
    assert_eq!((&first.file_name, &first.content_type), (&new.file_name, &new.content_type));
    assert_eq!((first.expires_at, first.tail_writer), (new.expires_at, None));

    let taken = store.take_media_upload(id, now()).await.unwrap().unwrap();
    assert!(store.set_media_multipart(id, taken.writer, &MultipartId("m".to_owned())).await.unwrap());
    let step = progress(vec![part(taken.next_number, PART_BYTES)], PART_BYTES + 4, 4);
    assert!(store.append_media_upload(id, taken.writer, &step).await.unwrap());

    let second = found(&stores.other, id).await;
    assert_eq!((second.offset, second.tail, second.tail_writer), (PART_BYTES + 4, 4, Some(taken.writer)));
    assert_eq!((second.parts, second.next_number), (1, taken.next_number + 1));
    assert_eq!((second.hash_state.as_deref(), second.length), (Some(&[7; 32][..]), new.length));
    assert_eq!(second.multipart, Some(MultipartId("m".to_owned())));
    assert_eq!(stores.other.media_upload_parts(id).await.unwrap(), step.parts);
    let newest = store.open_media_upload(new.book, new.kind, now()).await.unwrap();
    assert_eq!(newest, Some(second));
    assert_eq!(store.open_media_upload(new.book, AssetKind::Cover, now()).await.unwrap(), None);

    assert!(store.delete_user(owner, now(), later()).await.unwrap());
    assert_eq!(found(store, id).await.owner, None, "nothing tells who it was");
    assert!(store.delete_media_upload(id).await.unwrap() && !store.delete_media_upload(id).await.unwrap());
    assert!(store.media_upload_parts(id).await.unwrap().is_empty());
}

pub async fn of_two_writers_of_an_upload_the_later_one_records(stores: &TwoStores) {
    let id = begun(&stores.one).await.id;
    let one = stores.one.take_media_upload(id, now()).await.unwrap().unwrap();
    let other = stores.other.take_media_upload(id, now()).await.unwrap().unwrap();
    assert!(other.writer > one.writer && other.next_number > one.next_number, "a part of each has its own number");

    let late = progress(vec![part(one.next_number, PART_BYTES)], PART_BYTES, 0);
    assert!(!stores.one.append_media_upload(id, one.writer, &late).await.unwrap());
    assert!(!stores.one.set_media_multipart(id, one.writer, &MultipartId("m".to_owned())).await.unwrap());
    assert!(!stores.one.complete_media_upload(id, one.writer, &[1; 32], 0, later()).await.unwrap());
    let step = progress(vec![part(other.next_number, PART_BYTES)], PART_BYTES, 0);
    assert!(stores.other.append_media_upload(id, other.writer, &step).await.unwrap());

    assert_eq!(stores.one.media_upload_parts(id).await.unwrap(), step.parts);
    assert_eq!(found(&stores.one, id).await.offset, PART_BYTES);
}

pub async fn an_offset_follows_from_what_is_recorded(stores: &TwoStores) {
    let store = &stores.one;
    let id = begun(store).await.id;
    let writer = store.take_media_upload(id, now()).await.unwrap().unwrap().writer;
    for wrong in [
        progress(vec![], 5, 0),
        progress(vec![part(2, 8)], 9, 0),
        progress(vec![part(3, 8), part(2, 8)], 16, 0),
        progress(vec![part(2, 8), part(2, 8)], 16, 0),
        progress(vec![part(10_001, 8)], 8, 0),
        progress(vec![part(1, 8)], 8, 0),
    ] {
        assert!(!store.append_media_upload(id, writer, &wrong).await.unwrap(), "{wrong:?}");
    }
    // A tail, a longer one, the part that it becomes, and a tail after it.
    for right in [progress(vec![], 5, 5), progress(vec![], 7, 7), progress(vec![part(4, 8)], 11, 3)] {
        assert!(store.append_media_upload(id, writer, &right).await.unwrap(), "{right:?}");
    }
    // The same again, as after a lost answer.
    let again = progress(vec![part(4, 8)], 11, 3);
    assert!(!store.append_media_upload(id, writer, &again).await.unwrap());
    let known = UploadProgress { length: Some(11), ..progress(vec![part(9, 3)], 11, 0) };
    assert!(store.append_media_upload(id, writer, &known).await.unwrap());
    let upload = found(store, id).await;
    assert_eq!((upload.offset, upload.tail, upload.parts, upload.length), (11, 0, 2, Some(11)));
    assert_eq!((upload.tail_writer, upload.next_number), (None, 10));
}

pub async fn a_complete_upload_takes_nothing_more(stores: &TwoStores) {
    let store = &stores.one;
    let id = begun(store).await.id;
    let upload = store.take_media_upload(id, now()).await.unwrap().unwrap();
    let step = progress(vec![part(upload.next_number, 8)], 10, 2);
    assert!(store.append_media_upload(id, upload.writer, &step).await.unwrap());
    assert!(!store.complete_media_upload(id, upload.writer, &[5; 32], 8, later()).await.unwrap(), "it has more");
    assert!(store.complete_media_upload(id, upload.writer, &[5; 32], 10, later()).await.unwrap());

    let done = found(&stores.other, id).await;
    assert_eq!(done.state, MediaUploadState::Complete { sha256: [5; 32], bytes: 10 });
    assert_eq!((done.length, done.offset, done.tail, done.tail_writer), (Some(10), 10, 0, None));
    assert_eq!(store.take_media_upload(id, now()).await.unwrap(), None);
    let more = progress(vec![part(9, 8)], 18, 0);
    assert!(!store.append_media_upload(id, upload.writer, &more).await.unwrap());
}

pub async fn an_upload_that_became_the_file_of_a_book_keeps_no_other_out(stores: &TwoStores) {
    let store = &stores.one;
    let book = sell(store, "Emma").await.id;
    let key = MediaKey::new(book, AssetKind::Master);
    assert!(store.begin_media_upload(&NewMediaUpload { book, key, ..new() }, now()).await.unwrap());
    for _ in 1..MAX_OPEN_UPLOADS {
        begun(store).await;
    }
    assert!(!stores.other.begin_media_upload(&new(), now()).await.unwrap(), "there are as many as there may be");

    put(store, &AssetRecord { key, ..file(book, AssetKind::Master) }).await;

    begun(&stores.other).await;
    assert!(!store.begin_media_upload(&new(), now()).await.unwrap());
}

/// A media store with an upload of one part.
async fn stored(
    store: &Relational,
    folder: &TempDir,
    expires_at: Timestamp,
) -> (NewMediaUpload, MultipartId, PartFacts) {
    let media = media_folder(folder.path().join("media")).unwrap();
    let new = new();
    assert!(store.begin_media_upload(&new, now()).await.unwrap());
    let upload = store.take_media_upload(new.id, now()).await.unwrap().unwrap();
    let multipart = media.begin(&new.key, "audio/mpeg").await.unwrap();
    assert!(store.set_media_multipart(new.id, upload.writer, &multipart).await.unwrap());
    let number = upload.next_number;
    let part = media.put_part(&new.key, &multipart, number, b"a part".to_vec().into()).await.unwrap();
    let step = UploadProgress { expires_at, ..progress(vec![part.clone()], 6, 0) };
    assert!(store.append_media_upload(new.id, upload.writer, &step).await.unwrap());
    (new, multipart, part)
}

pub async fn an_expired_upload_ends_in_the_media_store_too(stores: &TwoStores) {
    let (store, folder) = (&stores.one, TempDir::new().unwrap());
    let at = now() + SignedDuration::from_hours(1);
    let (old, old_multipart, _) = stored(store, &folder, at).await;
    let (young, young_multipart, _) = stored(store, &folder, later()).await;
    let media = media_folder(folder.path().join("media")).unwrap();

    assert_eq!(store.media_upload(old.id, at).await.unwrap(), None);
    assert_eq!(store.take_media_upload(old.id, at).await.unwrap(), None);
    assert_eq!(sweep_media(store, &*media, at).await.unwrap(), 1);

    assert!(media.parts(&old.key, &old_multipart).await.unwrap().is_empty());
    assert_eq!(store.media_upload(old.id, now()).await.unwrap(), None);
    assert_eq!(media.parts(&young.key, &young_multipart).await.unwrap().len(), 1);
    assert_eq!(found(store, young.id).await.parts, 1);
    assert_eq!(sweep_media(&stores.other, &*media, at).await.unwrap(), 0);
}

pub async fn the_object_of_an_ended_upload_is_deleted(stores: &TwoStores) {
    let (store, folder) = (&stores.one, TempDir::new().unwrap());
    let media = media_folder(folder.path().join("media")).unwrap();
    // One whose process ended after it had made the object, and a complete one that no book got.
    let (open, open_multipart, open_part) = stored(store, &folder, later()).await;
    media.finish(&open.key, &open_multipart, &[open_part]).await.unwrap();
    let (done, done_multipart, done_part) = stored(store, &folder, later()).await;
    media.finish(&done.key, &done_multipart, &[done_part]).await.unwrap();
    let writer = found(store, done.id).await.writer;
    assert!(store.complete_media_upload(done.id, writer, &[1; 32], 6, later()).await.unwrap());

    for id in [open.id, done.id] {
        assert!(end_media_upload(store, &*media, id).await.unwrap());
        assert!(!end_media_upload(store, &*media, id).await.unwrap(), "it is gone");
    }

    assert_eq!(media.head(&open.key).await.unwrap(), None);
    // A book may be getting the other one, so the task that looks for a book deletes it.
    assert!(media.head(&done.key).await.unwrap().is_some());
    assert_eq!(store.media_to_delete(later(), 9).await.unwrap(), [done.key]);
}
