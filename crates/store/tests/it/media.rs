//! The media store in a folder, and in the bucket of `SIGHTLINE_TEST_S3_BUCKET` at `SIGHTLINE_TEST_S3_ENDPOINT` (`scripts/servers start s3`)
//! if they are set.

mod objects;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::{AssetKind, BookId};
use futures::TryStreamExt;
use store::{Media, MediaArgs, MediaKey, MultipartId, PART_BYTES, PartFacts, media_folder, open_media};
use tempfile::TempDir;
use uuid::Uuid;

/// Runs each test on an empty folder and on an empty prefix of the bucket.
macro_rules! on_media {
    ($($module:ident::$test:ident,)*) => {
        mod in_a_folder {
            $(
                #[tokio::test]
                async fn $test() {
                    let folder = tempfile::TempDir::new().unwrap();
                    super::$module::$test(&*super::in_folder(&folder)).await;
                }
            )*
        }
        mod in_a_bucket {
            $(
                #[tokio::test]
                #[ignore = "needs s3"]
                async fn $test() {
                    if let Some(media) = super::in_bucket(stringify!($test)) {
                        super::$module::$test(&*media).await;
                    }
                }
            )*
        }
    };
}
on_media! {
    objects::an_object_is_readable_until_it_is_deleted,
    objects::a_range_is_what_the_object_has_of_it,
    objects::a_thousand_random_ranges_are_equal,
    objects::a_slow_reader_of_a_deleted_object_gets_its_bytes_or_an_error,
    objects::a_reader_never_sees_half_of_an_object,
    uploads::an_object_is_made_of_its_parts_in_their_order,
    uploads::a_part_that_is_stored_again_replaces_the_first,
    uploads::parts_and_tails_survive_the_end_of_a_process,
    uploads::finishing_again_gives_the_same_answer,
    uploads::an_upload_of_other_parts_is_refused,
    uploads::an_ended_upload_takes_no_part_and_an_object_stays,
    uploads::a_tail_belongs_to_its_writer,
    uploads::a_sweep_ends_what_nobody_keeps,
}

fn in_folder(folder: &TempDir) -> Arc<dyn Media> {
    media_folder(folder.path().join("media")).unwrap()
}

/// The settings of the bucket, below a prefix.
fn bucket_args(prefix: &str) -> Option<MediaArgs> {
    let set = |name: &str| std::env::var(format!("SIGHTLINE_TEST_S3_{name}")).ok();
    let bucket = set("BUCKET")?;
    Some(MediaArgs {
        media_s3_endpoint: set("ENDPOINT"),
        media_s3_region: set("REGION"),
        media_s3_access_key_id: set("ACCESS_KEY_ID").and_then(|id| id.parse().ok()),
        media_s3_secret_access_key: set("SECRET_ACCESS_KEY").and_then(|key| key.parse().ok()),
        ..MediaArgs::of_url(&format!("s3://{bucket}/{prefix}"))
    })
}

fn in_bucket(test: &str) -> Option<Arc<dyn Media>> {
    let Some(args) = bucket_args(&format!("media-{}", Uuid::now_v7())) else {
        println!("skipped: {test}: SIGHTLINE_TEST_S3_BUCKET is not set");
        return None;
    };
    Some(open_media(&args).unwrap())
}

fn key() -> MediaKey {
    MediaKey::new(BookId::now(), AssetKind::Master)
}

/// Bytes that differ from place to place.
fn bytes(length: usize, seed: u8) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ seed).collect::<Vec<u8>>().into()
}

fn part(seed: u8) -> Bytes {
    bytes(PART_BYTES as usize, seed)
}

/// The bytes of a range; `None` if there is no object.
async fn read(media: &dyn Media, key: &MediaKey, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
    let stream = media.read(key, range).await.unwrap()?;
    Some(
        stream
            .try_fold(Vec::new(), |mut all, block| async move {
                all.extend_from_slice(&block);
                Ok(all)
            })
            .await
            .unwrap(),
    )
}

/// Begins an object and stores these parts with the numbers from 1.
async fn upload(media: &dyn Media, key: &MediaKey, contents: &[Bytes]) -> (MultipartId, Vec<PartFacts>) {
    let upload = media.begin(key, "audio/mpeg").await.unwrap();
    let mut parts = Vec::new();
    for (number, content) in (1..).zip(contents) {
        parts.push(media.put_part(key, &upload, number, content.clone()).await.unwrap());
    }
    (upload, parts)
}

#[tokio::test]
async fn objects_survive_reopening() {
    let folder = TempDir::new().unwrap();
    let key = key();
    in_folder(&folder).put(&key, "image/png", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(read(&*in_folder(&folder), &key, 0..9).await.as_deref(), Some(&b"x"[..]));
}

#[tokio::test]
async fn a_folder_has_no_links() {
    let folder = TempDir::new().unwrap();
    let (media, key) = (in_folder(&folder), key());
    media.put(&key, "image/png", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(media.link(&key, None, "x.png", Duration::from_secs(60)).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs s3"]
async fn a_link_gives_the_signed_range_under_the_given_name_and_nothing_else() {
    let Some(media) = in_bucket("a_link_gives_the_signed_range_under_the_given_name_and_nothing_else") else { return };
    let (key, another, content) = (key(), key(), bytes(1_000, 3));
    media.put(&key, "audio/mpeg", content.clone()).await.unwrap();
    let minute = Duration::from_secs(60);
    let http = reqwest::Client::new();

    let whole = media.link(&key, None, "Grüße.mp3", minute).await.unwrap().unwrap();
    let answer = http.get(whole.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let name = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(name.starts_with("attachment") && name.contains("Gr%C3%BC%C3%9Fe.mp3"), "{name}");
    assert_eq!(answer.headers()["content-type"], "audio/mpeg");
    assert_eq!(answer.bytes().await.unwrap(), content);

    let part = media.link(&key, Some(0..100), "x.mp3", minute).await.unwrap().unwrap();
    let answer = http.get(part.clone()).header("range", "bytes=0-99").send().await.unwrap();
    assert_eq!(answer.status(), 206);
    assert_eq!(answer.bytes().await.unwrap(), content.slice(..100));
    for other in [Some("bytes=0-100"), Some("bytes=0-"), Some("bytes=900-999"), None] {
        let request = http.get(part.clone());
        let request = other.map_or(request.try_clone().unwrap(), |range| request.header("range", range));
        assert_eq!(request.send().await.unwrap().status(), 403, "{other:?}");
    }
    // Neither another object nor a longer time.
    let (secret, changed) = (key.to_string(), another.to_string());
    let other = whole.as_str().replace(&secret, &changed);
    assert_eq!(http.get(other).send().await.unwrap().status(), 403);
    let longer = whole.as_str().replace("X-Amz-Expires=60", "X-Amz-Expires=6000");
    assert_ne!(longer, whole.as_str());
    assert_eq!(http.get(longer).send().await.unwrap().status(), 403);
}
