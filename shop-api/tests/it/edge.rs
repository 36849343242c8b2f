//! Clients that use up connections, streams, headers and messages.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use h2::Reason;
use shop_api::proto::shop_v1::upload_chunk::Payload;
use shop_api::proto::shop_v1::{UploadChunk, UploadHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::deadlines::Http2;
use crate::test_service::{TestShop, assert_refused, with_token};

const SIGN_IN: &str = "/auth.v1.AuthenticationService/SignIn";
const VIEW_CART: &str = "/shop.v1.ShopService/ViewCart";
/// The beginning of a connection of HTTP/2, and an empty frame of settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn a_client_that_resets_its_calls_is_disconnected() {
    let shop = TestShop::start().await;
    let ann = shop.user("ann").await;
    let mut attacker = Http2::connect(&shop).await;
    let mut sent = 0;
    while sent < 10_000 && attacker.ready().await.is_ok() {
        // The service waits for the message, so it has not answered when the reset comes.
        let Ok((_, mut stream)) = attacker.begin(SIGN_IN, &[]) else { break };
        tokio::task::yield_now().await;
        stream.send_reset(Reason::CANCEL);
        sent += 1;
    }
    assert!(sent < 10_000, "the connection is still open");
    shop.shop_client().view_cart(with_token((), &ann.access_token)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_finishes_its_calls_may_cancel_some() {
    let shop = TestShop::start().await;
    let ann = shop.user("ann").await;
    let mut client = shop.shop_client();
    for _ in 0..50 {
        client.view_cart(with_token((), &ann.access_token)).await.unwrap();
        let mut hasty = with_token((), &ann.access_token);
        hasty.set_timeout(Duration::from_micros(1));
        drop(client.view_cart(hasty).await);
    }
    client.view_cart(with_token((), &ann.access_token)).await.unwrap();
}

#[tokio::test]
async fn a_connection_without_calls_is_closed() {
    let shop = TestShop::with(&["--grpc-idle-seconds", "1"]).await;
    for greeting in [&b""[..], PREFACE] {
        let mut stream = TcpStream::connect(shop.grpc).await.unwrap();
        stream.write_all(greeting).await.unwrap();
        let mut received = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut received)).await;
        assert!(closed.is_ok(), "still open after {} bytes", greeting.len());
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let shop = TestShop::with(&["--grpc-connections", "1", "--grpc-idle-seconds", "1"]).await;
    let ann = shop.user("ann").await;
    let _idle = TcpStream::connect(shop.grpc).await.unwrap();
    // Served when the idle one is closed.
    let answered = shop.shop_client().view_cart(with_token((), &ann.access_token)).await.unwrap();
    assert!(answered.into_inner().items.is_empty());
}

#[tokio::test]
async fn headers_beyond_the_bound_are_refused() {
    let shop = TestShop::start().await;
    let ann = shop.user("ann").await;
    let mut client = Http2::connect(&shop).await;
    let long = "x".repeat(20_000);
    let (response, _) = client.begin(VIEW_CART, &[("x-long", &long)]).unwrap();
    let refused = response.await.map(|response| response.status().as_u16());
    assert!(refused.is_err() || refused.as_ref().is_ok_and(|status| *status == 431), "{refused:?}");
    shop.shop_client().view_cart(with_token((), &ann.access_token)).await.unwrap();
}

#[tokio::test]
async fn a_message_of_five_mebibytes_is_refused_by_its_length() {
    let shop = TestShop::start().await;
    let (ann, root) = (shop.user("ann").await, shop.admin("root").await);
    let large = "x".repeat(5 << 20);
    let request = with_token(UploadHeader { title: large, ..UploadHeader::default() }, &root.access_token);
    let outcome = shop.call("/shop.v1.ShopService/CreateUploadURL", request).await;
    assert_refused(outcome, Code::ResourceExhausted, "message_too_large");

    let chunk = UploadChunk { payload: Some(Payload::Data(Bytes::from(vec![7; 5 << 20]))) };
    let mut request = Request::new(stream::iter([chunk]));
    let token = format!("Bearer {}", root.access_token);
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    let outcome = shop.shop_client().upload_audiobook(request).await;
    assert_refused(outcome, Code::ResourceExhausted, "message_too_large");
    shop.shop_client().view_cart(with_token((), &ann.access_token)).await.unwrap();
}

#[tokio::test]
async fn a_large_message_without_a_credential_is_not_read() {
    let shop = TestShop::start().await;
    let message = UploadHeader { title: "x".repeat(5 << 20), ..UploadHeader::default() };
    let outcome = shop.call("/shop.v1.ShopService/CreateUploadURL", Request::new(message)).await;
    assert_refused(outcome, Code::Unauthenticated, "unauthorized");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let shop = TestShop::start().await;
    let mut client = Http2::connect(&shop).await;
    for (bytes, status) in [
        // A length without its bytes, and a part of a length.
        (&b"\0\0\0\0\x05"[..], "3"),
        (&b"\0\0"[..], "3"),
        // A message that is not protobuf.
        (&b"\0\0\0\0\x02\xff\xff"[..], "3"),
        // Nothing.
        (&b""[..], "3"),
    ] {
        client.ready().await.unwrap();
        let (response, mut stream) = client.begin(SIGN_IN, &[]).unwrap();
        stream.send_data(Bytes::from_static(bytes), true).unwrap();
        assert_eq!(crate::deadlines::grpc_status(response.await.unwrap()).await, status, "{bytes:?}");
    }
}
