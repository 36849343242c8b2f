//! Covers and previews.

use reqwest::Method;
use reqwest::header::{IF_NONE_MATCH, RANGE};
use testing::eventually;

use crate::both::{Both, answer};
use crate::recordings::{Upload, book_for_sale, etag, wav};
use crate::test_service::TestShop;

/// The first bytes of a PNG image, and some more.
fn png(length: usize) -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n"[..], &vec![7; length]].concat()
}

async fn put_cover(user: &Both, book: &str, image: Vec<u8>) -> (u16, String) {
    let request = user.request(Method::PUT, &format!("/v1/books/{book}/cover")).body(image);
    let (status, problem) = answer(request.send().await.unwrap()).await;
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_cover_is_for_those_who_see_the_book() {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let (book, draft) = (book_for_sale(&shop, &admin, &wav(20_000)).await, Upload::begin(&shop, &admin, 10).await.book);
    let cover = async |user: &Both, book: &str| {
        let response = user.request(Method::GET, &format!("/v1/books/{book}/cover")).send().await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(cover(&ann, &book).await, 404, "there is none yet");
    let image = png(50_000);
    assert_eq!(put_cover(&ann, &book, image.clone()).await.0, 403);
    for book in [&book, &draft] {
        assert_eq!(put_cover(&admin, book, image.clone()).await.0, 204);
    }
    assert_eq!((cover(&ann, &draft).await, cover(&admin, &draft).await), (404, 200), "a draft is for admins");
    assert_eq!(cover(&Both::of(&shop, "nobody"), &book).await, 401);

    let path = format!("/v1/books/{book}/cover");
    let read = ann.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(read.headers()["content-type"], "image/png");
    assert_eq!(read.headers()["etag"], etag(&image));
    assert!(read.bytes().await.unwrap() == image);
    let again = ann.request(Method::GET, &path).header(IF_NONE_MATCH, etag(&image)).send().await.unwrap();
    assert_eq!(again.status(), 304);
    for _ in 0..2 {
        assert_eq!(admin.send(Method::DELETE, &path, None).await.0, 204);
    }
    assert_eq!(cover(&ann, &book).await, 404);
}

#[tokio::test]
async fn what_is_no_image_is_no_cover() {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let book = Upload::begin(&shop, &admin, 10).await.book;
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>".to_vec();
    for image in [Vec::new(), svg, b"GIF89a".to_vec(), wav(1_000)] {
        assert_eq!(put_cover(&admin, &book, image).await, (422, "not_an_image".to_owned()));
    }
    assert_eq!(put_cover(&admin, &book, png(5 << 20)).await, (413, "too_large".to_owned()));
}

#[tokio::test]
async fn a_preview_is_for_everybody_who_sees_the_book() {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let book = book_for_sale(&shop, &admin, &wav(2_000_000)).await;
    let path = format!("/v1/books/{book}/preview");
    eventually("the preview is made", async || ann.send(Method::HEAD, &path, None).await.0 == 200).await;
    let whole = ann.request(Method::GET, &path).send().await.unwrap();
    assert_eq!((whole.status().as_u16(), &whole.headers()["content-type"]), (200, &"audio/flac".parse().unwrap()));
    let content = whole.bytes().await.unwrap();
    assert!(content.starts_with(b"fLaC"));
    let part = ann.request(Method::GET, &path).header(RANGE, "bytes=0-3").send().await.unwrap();
    assert_eq!((part.status().as_u16(), &part.bytes().await.unwrap()[..]), (206, &b"fLaC"[..]));
    assert_eq!(Both::of(&shop, "nobody").request(Method::GET, &path).send().await.unwrap().status(), 401);
}
