//! Blobs in a folder always, in a bucket where `SIGHTLINE_TEST_BLOB_URL` names one (`s3://bucket/prefix`, with `AWS_*`).

use std::time::Duration;

use bytes::Bytes;
use contracts::BlobKind;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use store::{Blobs, ObjectBlobs};
use tempfile::TempDir;
use uuid::Uuid;

/// Calls every promise on blobs of its own.
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
    a_blob_reads_back_until_it_is_deleted,
    a_reader_never_sees_a_partial_blob,
    a_sweep_deletes_whole_days_of_one_kind,
    deleting_a_tenant_deletes_only_its_blobs,
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

fn day(days_ago: u64) -> String {
    let then = Timestamp::now() - Duration::from_secs(days_ago * 86_400);
    then.to_zoned(TimeZone::UTC).date().to_string()
}

async fn a_blob_reads_back_until_it_is_deleted(blobs: &ObjectBlobs) {
    let content = Bytes::from((0..=255).cycle().take(300_000).collect::<Vec<u8>>());

    blobs.check().await.unwrap();
    assert_eq!(blobs.get("frames/2026-01-02/a/1").await.unwrap(), None);
    blobs.put("frames/2026-01-02/a/1", content.clone()).await.unwrap();
    assert_eq!(blobs.get("frames/2026-01-02/a/1").await.unwrap(), Some(content));
    blobs.put("frames/2026-01-02/a/1", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(blobs.get("frames/2026-01-02/a/1").await.unwrap(), Some(Bytes::from_static(b"x")));
    // No image is empty: this is what a power cut leaves.
    blobs.put("frames/2026-01-02/a/1", Bytes::new()).await.unwrap();
    assert_eq!(blobs.get("frames/2026-01-02/a/1").await.unwrap(), None);
    blobs.delete("frames/2026-01-02/a/1").await.unwrap();
    blobs.delete("frames/2026-01-02/a/1").await.unwrap();
    assert_eq!(blobs.get("frames/2026-01-02/a/1").await.unwrap(), None);
}

async fn a_reader_never_sees_a_partial_blob(blobs: &ObjectBlobs) {
    let (zeros, ones) = (Bytes::from(vec![0; 1 << 20]), Bytes::from(vec![1; 1 << 20]));
    blobs.put("inbox/2026-01-02/1", zeros.clone()).await.unwrap();
    let writing = async {
        for n in 0..20 {
            let content = if n % 2 == 0 { &ones } else { &zeros };
            blobs.put("inbox/2026-01-02/1", content.clone()).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..60 {
            let read = blobs.get("inbox/2026-01-02/1").await.unwrap().unwrap();
            assert!(read == zeros || read == ones, "{} bytes", read.len());
        }
    };
    futures::join!(writing, reading);
}

async fn a_sweep_deletes_whole_days_of_one_kind(blobs: &ObjectBlobs) {
    let keys = |kind: &str, days_ago| [1, 2].map(|n| format!("{kind}/{}/a/{n}", day(days_ago)));
    let (old, recent, inbox) = (keys("frames", 9), keys("frames", 6), keys("inbox", 9));
    for key in old.iter().chain(&recent).chain(&inbox) {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }

    let swept = blobs.sweep(BlobKind::Frames, Duration::from_secs(7 * 86_400)).await.unwrap();

    assert_eq!(swept, 2);
    for key in old {
        assert_eq!(blobs.get(&key).await.unwrap(), None, "{key}");
    }
    for key in recent.iter().chain(&inbox) {
        assert!(blobs.get(key).await.unwrap().is_some(), "{key}");
    }
    assert_eq!(blobs.sweep(BlobKind::Frames, Duration::from_secs(7 * 86_400)).await.unwrap(), 0);
}

async fn deleting_a_tenant_deletes_only_its_blobs(blobs: &ObjectBlobs) {
    let (gone, longer) = ("a".parse().unwrap(), "a-1");
    let keys = |kind: &str, tenant: &str| ["2026-01-02", "2026-01-03"].map(|day| format!("{kind}/{day}/{tenant}/1"));
    let (gones, others, elsewhere) = (keys("frames", "a"), keys("frames", longer), keys("faces", "a"));
    for key in gones.iter().chain(&others).chain(&elsewhere) {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }

    assert_eq!(blobs.delete_tenant(BlobKind::Frames, &gone).await.unwrap(), 2);

    for key in gones {
        assert_eq!(blobs.get(&key).await.unwrap(), None, "{key}");
    }
    for key in others.iter().chain(&elsewhere) {
        assert!(blobs.get(key).await.unwrap().is_some(), "{key}");
    }
    assert_eq!(blobs.delete_tenant(BlobKind::Frames, &gone).await.unwrap(), 0);
}

#[tokio::test]
async fn a_sweep_deletes_partial_files_of_a_killed_process() {
    let folder = TempDir::new().unwrap();
    let blobs = open(&folder);
    blobs.put(&format!("frames/{}/a/1", day(9)), Bytes::from_static(b"x")).await.unwrap();
    let half_written = folder.path().join(format!("blobs/frames/{}/a/3#1", day(9)));
    std::fs::write(&half_written, "half").unwrap();

    assert_eq!(blobs.sweep(BlobKind::Frames, Duration::from_secs(7 * 86_400)).await.unwrap(), 1);

    assert!(!half_written.exists());
}

#[tokio::test]
async fn blobs_survive_reopening() {
    let folder = TempDir::new().unwrap();
    open(&folder).put("inbox/2026-01-02/1", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(open(&folder).get("inbox/2026-01-02/1").await.unwrap().as_deref(), Some(&b"x"[..]));
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
