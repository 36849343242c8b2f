//! Whole objects: writing, reading ranges, deleting.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use store::{Media, MediaFacts, PART_BYTES};
use uuid::Uuid;

use super::{bytes, key, read, upload};

pub async fn an_object_is_readable_until_it_is_deleted(media: &dyn Media) {
    let (key, other, content) = (key(), key(), bytes(300_000, 0));

    media.check().await.unwrap();
    assert_eq!(media.head(&key).await.unwrap(), None);
    assert_eq!(read(media, &key, 0..10).await, None);
    media.put(&key, "image/png", content.clone()).await.unwrap();
    media.put(&other, "image/png", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(media.head(&key).await.unwrap(), Some(MediaFacts { bytes: 300_000 }));
    assert_eq!(read(media, &key, 0..300_000).await.unwrap(), content);
    // The same again, as after a call whose answer was lost.
    media.put(&key, "image/png", content.clone()).await.unwrap();
    for _ in 0..2 {
        media.delete(&key).await.unwrap();
    }
    assert_eq!((media.head(&key).await.unwrap(), read(media, &key, 0..10).await), (None, None));
    assert_eq!(read(media, &other, 0..10).await.unwrap(), b"x");
}

pub async fn a_range_is_what_the_object_has_of_it(media: &dyn Media) {
    let (key, content) = (key(), bytes(200_000, 1));
    media.put(&key, "audio/mpeg", content.clone()).await.unwrap();
    for range in [0..1, 0..200_000, 65_535..65_537, 199_999..200_000, 100..100, 5..70_000] {
        let expected = &content[range.start as usize..range.end as usize];
        assert!(read(media, &key, range.clone()).await.unwrap() == expected, "{range:?}");
    }
    assert_eq!(read(media, &key, 199_990..u64::from(u32::MAX)).await.unwrap(), content[199_990..]);
    for past in [200_000..200_001, 300_000..400_000] {
        assert_eq!(read(media, &key, past.clone()).await.unwrap(), b"", "{past:?}");
    }
}

pub async fn a_thousand_random_ranges_are_equal(media: &dyn Media) {
    let (key, parts) = (key(), [super::part(1), super::part(2), bytes(123_457, 3)]);
    let (id, facts) = upload(media, &key, &parts).await;
    media.finish(&key, &id, &facts).await.unwrap();
    let content = parts.concat();
    for _ in 0..1_000 {
        let [a, b, ..] = Uuid::new_v4().into_bytes().map(u64::from);
        let [c, d, ..] = Uuid::new_v4().into_bytes().map(u64::from);
        let start = ((a << 16) + (b << 8) + c) % content.len() as u64;
        let end = (start + d * d * 7 + 1).min(content.len() as u64);
        let expected = &content[start as usize..end as usize];
        assert!(read(media, &key, start..end).await.unwrap() == expected, "{start}..{end}");
    }
}

pub async fn a_slow_reader_of_a_deleted_object_gets_its_bytes_or_an_error(media: &dyn Media) {
    let (key, content) = (key(), bytes(PART_BYTES as usize, 5));
    media.put(&key, "audio/mpeg", content.clone()).await.unwrap();
    let mut stream = media.read(&key, 0..PART_BYTES).await.unwrap().unwrap();
    let mut found = stream.try_next().await.unwrap().unwrap().to_vec();
    media.delete(&key).await.unwrap();
    // It never gets other bytes, and never an end before the end.
    loop {
        match stream.try_next().await {
            Ok(Some(block)) => found.extend_from_slice(&block),
            Ok(None) => {
                assert!(found == content, "{} bytes", found.len());
                break;
            }
            Err(_) => break,
        }
    }
    assert!(content.starts_with(&found));
}

pub async fn a_reader_never_sees_half_of_an_object(media: &dyn Media) {
    let (key, content) = (key(), super::part(9));
    let (id, parts) = upload(media, &key, &[content.clone(), content.clone(), content]).await;
    let whole = 3 * PART_BYTES;
    let finished = async {
        media.finish(&key, &id, &parts).await.unwrap();
    };
    let looking = async {
        let mut seen = None;
        while seen.is_none() {
            seen = media.head(&key).await.unwrap();
            assert!(seen.is_none_or(|facts| facts.bytes == whole), "{seen:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    futures::join!(finished, looking);
    assert_eq!(read(media, &key, 0..whole).await.unwrap().len() as u64, whole);
}
