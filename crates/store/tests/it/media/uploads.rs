//! Objects in parts.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use store::{Media, MediaFacts, MultipartId, PART_BYTES, PartFacts, StoreError};

use super::{bytes, key, part, read, upload};

pub async fn an_object_is_made_of_its_parts_in_their_order(media: &dyn Media) {
    let key = key();
    let id = media.begin(&key, "audio/mpeg").await.unwrap();
    // Stored in another order, with a gap between the numbers.
    let last = media.put_part(&key, &id, 10_000, bytes(77, 3)).await.unwrap();
    let second = media.put_part(&key, &id, 7, part(2)).await.unwrap();
    let first = media.put_part(&key, &id, 2, part(1)).await.unwrap();
    let parts = [first, second, last];
    assert_eq!(media.parts(&key, &id).await.unwrap(), parts);
    assert_eq!(media.head(&key).await.unwrap(), None, "it is not there before it is finished");

    let facts = media.finish(&key, &id, &parts).await.unwrap();

    let content = [part(1), part(2), bytes(77, 3)].concat();
    assert_eq!(facts, MediaFacts { bytes: content.len() as u64 });
    assert!(read(media, &key, 0..facts.bytes).await.unwrap() == content);
    for number in [0, 10_001] {
        let refused = media.put_part(&key, &id, number, Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(StoreError::Fatal(_))), "{number}");
    }
}

pub async fn a_part_that_is_stored_again_replaces_the_first(media: &dyn Media) {
    let key = key();
    let (id, _) = upload(media, &key, &[bytes(9, 1)]).await;
    let again = media.put_part(&key, &id, 1, bytes(7, 2)).await.unwrap();
    assert_eq!(media.parts(&key, &id).await.unwrap(), std::slice::from_ref(&again));
    media.finish(&key, &id, &[again]).await.unwrap();
    assert_eq!(read(media, &key, 0..99).await.unwrap(), bytes(7, 2));
}

/// Nothing of an upload is in the memory of a process: whoever knows key and id goes on.
pub async fn parts_and_tails_survive_the_end_of_a_process(media: &dyn Media) {
    let key = key();
    let (id, parts) = upload(media, &key, &[part(1)]).await;
    media.put_tail(&key, &id, 3, bytes(1_000, 2)).await.unwrap();
    let id = MultipartId(id.to_string());
    assert_eq!(media.parts(&key, &id).await.unwrap(), parts);
    assert_eq!(media.tail(&key, &id, 3).await.unwrap(), Some(bytes(1_000, 2)));
}

pub async fn finishing_again_gives_the_same_answer(media: &dyn Media) {
    let key = key();
    let (id, parts) = upload(media, &key, &[part(1), bytes(5, 2)]).await;
    let expected = MediaFacts { bytes: PART_BYTES + 5 };
    let (one, other) = futures::join!(media.finish(&key, &id, &parts), media.finish(&key, &id, &parts));
    assert_eq!((one.unwrap(), other.unwrap()), (expected, expected));
    assert_eq!(media.finish(&key, &id, &parts).await.unwrap(), expected);
    // The parts are gone with the upload.
    assert!(media.parts(&key, &id).await.unwrap().is_empty());
}

pub async fn an_upload_of_other_parts_is_refused(media: &dyn Media) {
    let key = key();
    let (id, parts) = upload(media, &key, &[bytes(9, 1)]).await;
    let other_tag = PartFacts { tag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(), ..parts[0].clone() };
    let missing = PartFacts { number: 2, ..parts[0].clone() };
    for wrong in [vec![], vec![other_tag], vec![missing.clone()], vec![missing, parts[0].clone()]] {
        let refused = media.finish(&key, &id, &wrong).await;
        assert!(matches!(refused, Err(StoreError::Fatal(_))), "{wrong:?}: {refused:?}");
    }
    assert_eq!(media.head(&key).await.unwrap(), None);
    media.finish(&key, &id, &parts).await.unwrap();
}

pub async fn an_ended_upload_takes_no_part_and_an_object_stays(media: &dyn Media) {
    let key = key();
    let (ended, parts) = upload(media, &key, &[bytes(9, 1)]).await;
    media.put_tail(&key, &ended, 1, bytes(5, 1)).await.unwrap();
    for _ in 0..2 {
        media.abort(&key, &ended).await.unwrap();
    }
    let refused = media.put_part(&key, &ended, 2, bytes(9, 1)).await;
    assert!(matches!(refused, Err(StoreError::Fatal(_))), "{refused:?}");
    let refused = media.finish(&key, &ended, &parts).await;
    assert!(matches!(refused, Err(StoreError::Fatal(_))), "{refused:?}");
    assert_eq!((media.parts(&key, &ended).await.unwrap(), media.tail(&key, &ended, 1).await.unwrap()), (vec![], None));

    let (id, parts) = upload(media, &key, &[bytes(9, 1)]).await;
    media.finish(&key, &id, &parts).await.unwrap();
    media.abort(&key, &id).await.unwrap();
    assert_eq!(read(media, &key, 0..99).await.unwrap(), bytes(9, 1));
}

pub async fn a_tail_belongs_to_its_writer(media: &dyn Media) {
    let key = key();
    let (id, parts) = upload(media, &key, &[part(1)]).await;
    assert_eq!(media.tail(&key, &id, 1).await.unwrap(), None);
    for (writer, seed) in [(1, 1), (2, 2), (1, 3)] {
        media.put_tail(&key, &id, writer, bytes(500 + usize::from(seed), seed)).await.unwrap();
    }
    assert_eq!(media.tail(&key, &id, 1).await.unwrap(), Some(bytes(503, 3)), "its own one, replaced");
    assert_eq!(media.tail(&key, &id, 2).await.unwrap(), Some(bytes(502, 2)));
    for _ in 0..2 {
        media.delete_tail(&key, &id, 1).await.unwrap();
    }
    assert_eq!(media.tail(&key, &id, 1).await.unwrap(), None);
    // The end of another upload with this key leaves it.
    let other = media.begin(&key, "audio/mpeg").await.unwrap();
    media.abort(&key, &other).await.unwrap();
    assert_eq!(media.tail(&key, &id, 2).await.unwrap(), Some(bytes(502, 2)));
    // A tail is no part.
    assert_eq!(media.finish(&key, &id, &parts).await.unwrap().bytes, PART_BYTES);
    assert_eq!(media.tail(&key, &id, 2).await.unwrap(), None);
}

pub async fn a_sweep_ends_what_nobody_keeps(media: &dyn Media) {
    let (kept, lost, done) = (key(), key(), key());
    let (kept_id, kept_parts) = upload(media, &kept, &[bytes(9, 1)]).await;
    let (lost_id, _) = upload(media, &lost, &[bytes(9, 2)]).await;
    let (done_id, parts) = upload(media, &done, &[bytes(9, 3)]).await;
    media.finish(&done, &done_id, &parts).await.unwrap();
    for (key, id) in [(&kept, &kept_id), (&lost, &lost_id)] {
        media.put_tail(key, id, 1, bytes(5, 1)).await.unwrap();
    }
    let keep = BTreeSet::from([kept]);
    assert_eq!(media.sweep_unfinished(Duration::from_secs(3_600), &keep).await.unwrap(), 0, "all are young");

    assert!(media.sweep_unfinished(Duration::ZERO, &keep).await.unwrap() >= 1);

    assert!(media.parts(&lost, &lost_id).await.unwrap().is_empty());
    assert_eq!(media.tail(&lost, &lost_id, 1).await.unwrap(), None);
    assert_eq!(media.sweep_unfinished(Duration::ZERO, &keep).await.unwrap(), 0);
    assert_eq!(media.parts(&kept, &kept_id).await.unwrap(), kept_parts);
    assert_eq!(media.tail(&kept, &kept_id, 1).await.unwrap(), Some(bytes(5, 1)));
    assert_eq!(read(media, &done, 0..99).await.unwrap(), bytes(9, 3));
}
