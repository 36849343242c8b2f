use contracts::{AssetKind, BookId};

use super::*;
use crate::media::PART_BYTES;

fn opened() -> (tempfile::TempDir, MediaFolder) {
    let root = tempfile::tempdir().unwrap();
    let media = MediaFolder::open(root.path().join("media")).unwrap();
    (root, media)
}

fn key() -> MediaKey {
    MediaKey::new(BookId::now(), AssetKind::Master)
}

fn unfinished(media: &MediaFolder) -> usize {
    fs::read_dir(media.0.unfinished()).unwrap().count()
}

#[tokio::test]
async fn a_deleted_folder_is_reported_and_not_created_again() {
    let (_root, media) = opened();
    media.check().await.unwrap();
    fs::remove_dir_all(&media.0.root).unwrap();
    let error = media.put(&key(), "audio/mpeg", Bytes::from_static(b"x")).await.unwrap_err().to_string();
    assert!(error.contains("was deleted") && !media.0.root.exists(), "{error}");
}

#[tokio::test]
async fn what_a_killed_process_was_writing_is_no_object_and_is_swept() {
    let (_root, media) = opened();
    let half = media.0.new_file();
    fs::write(&half, "half").unwrap();
    // A process that was killed before it wrote the key of its upload.
    fs::create_dir(media.0.unfinished().join(Uuid::now_v7().to_string())).unwrap();
    // What is not ours.
    fs::write(media.0.unfinished().join("readme"), "").unwrap();
    let none = BTreeSet::new();
    assert_eq!(media.sweep_unfinished(Duration::from_secs(60), &none).await.unwrap(), 0);
    assert_eq!(media.sweep_unfinished(Duration::ZERO, &none).await.unwrap(), 2);
    assert!(!half.exists() && media.0.unfinished().join("readme").exists());
}

#[tokio::test]
async fn a_process_killed_between_the_object_and_the_end_of_its_upload_is_finished_by_the_next() {
    let (_root, media) = opened();
    let key = key();
    let upload = media.begin(&key, "audio/mpeg").await.unwrap();
    let part = media.put_part(&key, &upload, 1, Bytes::from_static(b"whole")).await.unwrap();
    media.put_tail(&key, &upload, 1, Bytes::from_static(b"old")).await.unwrap();
    // The first process has made the object, and no more.
    media.put(&key, "audio/mpeg", Bytes::from_static(b"whole")).await.unwrap();
    for _ in 0..2 {
        let facts = media.finish(&key, &upload, std::slice::from_ref(&part)).await.unwrap();
        assert_eq!(facts, MediaFacts { bytes: 5 });
    }
    assert_eq!(unfinished(&media), 0);
}

#[tokio::test]
async fn a_late_part_of_another_writer_is_not_in_the_object() {
    let (_root, media) = opened();
    let key = key();
    let upload = media.begin(&key, "audio/mpeg").await.unwrap();
    let part = media.put_part(&key, &upload, 1, Bytes::from_static(b"recorded")).await.unwrap();
    media.put_part(&key, &upload, 1, Bytes::from_static(b"late")).await.unwrap();
    media.finish(&key, &upload, &[part]).await.unwrap();
    assert_eq!(fs::read(media.0.object(&key)).unwrap(), b"recorded");
}

#[tokio::test]
async fn an_id_is_never_a_path() {
    let (root, media) = opened();
    let victim = root.path().join("victim");
    fs::create_dir(&victim).unwrap();
    for id in ["../../victim", "..", "", "/"] {
        let upload = MultipartId(id.to_owned());
        let refused = media.put_part(&key(), &upload, 1, Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(StoreError::Fatal(_))), "{id}");
        media.abort(&key(), &upload).await.unwrap();
    }
    assert!(victim.exists() && media.0.root.exists());
    let key = key();
    let upload = media.begin(&key, "audio/mpeg").await.unwrap();
    let part = PartFacts { number: 1, bytes: 1, tag: "/../../../victim".to_owned() };
    assert!(matches!(media.finish(&key, &upload, &[part]).await, Err(StoreError::Fatal(_))));
}

#[tokio::test]
async fn a_failed_finish_leaves_no_file_and_keeps_the_parts() {
    let (_root, media) = opened();
    let key = key();
    let upload = media.begin(&key, "audio/mpeg").await.unwrap();
    let part = media.put_part(&key, &upload, 1, Bytes::from(vec![7; PART_BYTES as usize])).await.unwrap();
    let longer = PartFacts { bytes: PART_BYTES + 1, ..part.clone() };
    assert!(matches!(media.finish(&key, &upload, &[longer]).await, Err(StoreError::Fatal(_))));
    assert_eq!((unfinished(&media), media.head(&key).await.unwrap()), (1, None));
    assert_eq!(media.finish(&key, &upload, &[part]).await.unwrap().bytes, PART_BYTES);
}
