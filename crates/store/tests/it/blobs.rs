//! The blob store in a folder, and in the bucket of `SIGHTLINE_TEST_BLOB_URL` (`s3://bucket/prefix`, with `AWS_*`) if it is set.

use std::time::Duration;

use bytes::Bytes;
use contracts::{BlobKey, BlobKind, FrameId, SubjectId, TenantId, VectorId};
use futures::future::join_all;
use jiff::Timestamp;
use store::{Blobs, ObjectBlobs};
use tempfile::TempDir;
use uuid::Uuid;

/// Runs each test on an empty folder and on an empty prefix of the bucket.
macro_rules! on_blobs {
    ($($test:ident,)*) => {
        mod in_a_folder {
            $(
                #[tokio::test]
                async fn $test() {
                    let folder = tempfile::TempDir::new().unwrap();
                    super::$test(&super::open(&folder)).await;
                }
            )*
        }
        mod in_a_bucket {
            $(
                #[tokio::test]
                #[ignore = "needs s3"]
                async fn $test() {
                    if let Some(blobs) = super::open_bucket(stringify!($test)) {
                        super::$test(&blobs).await;
                    }
                }
            )*
        }
    };
}
on_blobs! {
    a_blob_is_readable_until_it_is_deleted,
    a_reader_never_sees_a_partial_blob,
    a_sweep_deletes_whole_days_of_one_kind,
    an_image_with_a_last_day_is_swept_after_it,
    deleting_a_tenant_deletes_only_its_blobs,
    enrolled_images_are_deleted_with_their_subject_and_do_not_expire,
}

fn open(folder: &TempDir) -> ObjectBlobs {
    ObjectBlobs::open(&format!("file://{}", folder.path().join("blobs").display())).unwrap()
}

fn open_bucket(test: &str) -> Option<ObjectBlobs> {
    let Ok(address) = std::env::var("SIGHTLINE_TEST_BLOB_URL") else {
        println!("skipped: {test}: SIGHTLINE_TEST_BLOB_URL is not set");
        return None;
    };
    Some(ObjectBlobs::open(&format!("{address}/{}", Uuid::now_v7())).unwrap())
}

fn days_ago(days: u64) -> Timestamp {
    Timestamp::now() - Duration::from_secs(days * 86_400)
}

/// A key of a new frame.
fn key(kind: BlobKind, written_at: Timestamp, tenant: &str) -> BlobKey {
    BlobKey::new(kind, written_at, &tenant.parse().unwrap(), FrameId::now())
}

async fn a_blob_is_readable_until_it_is_deleted(blobs: &ObjectBlobs) {
    let content = Bytes::from((0..=255).cycle().take(300_000).collect::<Vec<u8>>());

    let key = key(BlobKind::Frames, days_ago(0), "a");

    blobs.check().await.unwrap();
    assert_eq!(blobs.get(&key).await.unwrap(), None);
    blobs.put(&key, content.clone()).await.unwrap();
    assert_eq!(blobs.get(&key).await.unwrap(), Some(content));
    blobs.put(&key, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(blobs.get(&key).await.unwrap(), Some(Bytes::from_static(b"x")));
    // An empty blob is what a power cut leaves of an unsynced write.
    blobs.put(&key, Bytes::new()).await.unwrap();
    assert_eq!(blobs.get(&key).await.unwrap(), None);
    blobs.delete(&key).await.unwrap();
    blobs.delete(&key).await.unwrap();
    assert_eq!(blobs.get(&key).await.unwrap(), None);
}

async fn a_reader_never_sees_a_partial_blob(blobs: &ObjectBlobs) {
    let (zeros, ones) = (Bytes::from(vec![0; 1 << 20]), Bytes::from(vec![1; 1 << 20]));
    let key = key(BlobKind::Inbox, days_ago(0), "a");
    blobs.put(&key, zeros.clone()).await.unwrap();
    let writing = async {
        for n in 0..20 {
            let content = if n % 2 == 0 { &ones } else { &zeros };
            blobs.put(&key, content.clone()).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..60 {
            let read = blobs.get(&key).await.unwrap().unwrap();
            assert!(read == zeros || read == ones, "{} bytes", read.len());
        }
    };
    futures::join!(writing, reading);
}

async fn a_sweep_deletes_whole_days_of_one_kind(blobs: &ObjectBlobs) {
    let keys = |kind, days| [(); 2].map(|()| key(kind, days_ago(days), "a"));
    let (old, recent, inbox) = (keys(BlobKind::Frames, 9), keys(BlobKind::Frames, 6), keys(BlobKind::Inbox, 9));
    for key in old.iter().chain(&recent).chain(&inbox) {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }

    let deleted = blobs.sweep(BlobKind::Frames, Duration::from_secs(7 * 86_400)).await.unwrap();

    assert_eq!(deleted, 2);
    for key in old {
        assert_eq!(blobs.get(&key).await.unwrap(), None, "{key}");
    }
    for key in recent.iter().chain(&inbox) {
        assert!(blobs.get(key).await.unwrap().is_some(), "{key}");
    }
    assert_eq!(blobs.sweep(BlobKind::Frames, Duration::from_secs(7 * 86_400)).await.unwrap(), 0);
}

async fn an_image_with_a_last_day_is_swept_after_it(blobs: &ObjectBlobs) {
    let keys = [1, 0].map(|days| key(BlobKind::FramesUntil, days_ago(days), "a"));
    let later =
        BlobKey::of_kept_image(Timestamp::now(), Some("7".parse().unwrap()), &"a".parse().unwrap(), FrameId::now());
    let forever = key(BlobKind::Frames, days_ago(1), "a");
    for key in keys.iter().chain([&later, &forever]) {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(blobs.sweep(BlobKind::FramesUntil, Duration::ZERO).await.unwrap(), 1);
    assert_eq!(blobs.get(&keys[0]).await.unwrap(), None);
    for key in [&keys[1], &later, &forever] {
        assert!(blobs.get(key).await.unwrap().is_some(), "{key}");
    }
}

async fn deleting_a_tenant_deletes_only_its_blobs(blobs: &ObjectBlobs) {
    let tenant = "a".parse().unwrap();
    let keys = |kind, tenant: &str| [1, 2].map(|days| key(kind, days_ago(days), tenant));
    // The other tenant's name begins with the deleted tenant's.
    let (deleted, others) = (keys(BlobKind::Frames, "a"), keys(BlobKind::Frames, "a-1"));
    let inbox = keys(BlobKind::Inbox, "a");
    for key in deleted.iter().chain(&others).chain(&inbox) {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }

    assert_eq!(blobs.delete_tenant(BlobKind::Frames, &tenant).await.unwrap(), 2);

    for key in deleted {
        assert_eq!(blobs.get(&key).await.unwrap(), None, "{key}");
    }
    for key in others.iter().chain(&inbox) {
        assert!(blobs.get(key).await.unwrap().is_some(), "{key}");
    }
    assert_eq!(blobs.delete_tenant(BlobKind::Frames, &tenant).await.unwrap(), 0);
}

async fn enrolled_images_are_deleted_with_their_subject_and_do_not_expire(blobs: &ObjectBlobs) {
    // A tenant whose name is a day that ended long ago.
    let (a, b): (TenantId, TenantId) = ("2020-01-02".parse().unwrap(), "b".parse().unwrap());
    let [gone, stays] = [SubjectId::now(), SubjectId::now()];
    let key = |tenant, subject| BlobKey::of_enrolled(tenant, subject, VectorId::now());
    let of_gone = [key(&a, gone), key(&a, gone)];
    let others = [key(&a, stays), key(&b, gone), BlobKey::new(BlobKind::Frames, days_ago(0), &a, FrameId::now())];
    for key in of_gone.iter().chain(&others) {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(blobs.sweep(BlobKind::Enrolled, Duration::ZERO).await.unwrap(), 0);

    assert_eq!(blobs.delete_enrolled(&a, gone).await.unwrap(), 2);
    assert_eq!(blobs.delete_enrolled(&a, gone).await.unwrap(), 0);
    for key in of_gone {
        assert_eq!(blobs.get(&key).await.unwrap(), None, "{key}");
    }
    for key in &others {
        assert!(blobs.get(key).await.unwrap().is_some(), "{key}");
    }
    assert_eq!(blobs.delete_tenant(BlobKind::Enrolled, &a).await.unwrap(), 1);
    assert!(blobs.get(&others[1]).await.unwrap().is_some() && blobs.get(&others[2]).await.unwrap().is_some());
}

/// In a folder only: the server of the tests keeps its objects in folders and has such races of its own.
#[tokio::test]
async fn what_another_call_deletes_is_deleted() {
    let folder = TempDir::new().unwrap();
    let (blobs, a, gone) = (open(&folder), "a".parse().unwrap(), SubjectId::now());
    for _ in 0..20 {
        for _ in 0..20 {
            blobs.put(&BlobKey::of_enrolled(&a, gone, VectorId::now()), Bytes::from_static(b"x")).await.unwrap();
        }
        let deletions = join_all((0..4).map(|_| blobs.delete_enrolled(&a, gone))).await;
        let failed = deletions.into_iter().find_map(|deleted| deleted.err().map(|error| error.to_string()));
        assert_eq!(failed, None);
    }
}

#[tokio::test]
async fn a_sweep_deletes_partial_files_of_a_killed_process() {
    let folder = TempDir::new().unwrap();
    let blobs = open(&folder);
    let key = key(BlobKind::Frames, days_ago(9), "a");
    blobs.put(&key, Bytes::from_static(b"x")).await.unwrap();
    let file = folder.path().join("blobs").join(key.to_string());
    assert!(file.is_file());
    let partial = file.with_extension("#1");
    std::fs::write(&partial, "half").unwrap();

    assert_eq!(blobs.sweep(BlobKind::Frames, Duration::from_secs(7 * 86_400)).await.unwrap(), 1);

    assert!(!partial.exists());
}

#[tokio::test]
async fn blobs_survive_reopening() {
    let folder = TempDir::new().unwrap();
    let key = key(BlobKind::Inbox, days_ago(0), "a");
    open(&folder).put(&key, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(open(&folder).get(&key).await.unwrap().as_deref(), Some(&b"x"[..]));
}

#[tokio::test]
async fn an_unusable_folder_error_names_the_setting() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let address = format!("file://{}/blobs", folder.path().join("file").display());
    let refused = ObjectBlobs::open(&address).err().unwrap().to_string();
    assert!(refused.contains("SIGHTLINE_BLOB_URL"), "{refused}");
    assert_eq!(refused.lines().count(), 1);
}
