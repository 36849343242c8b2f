//! The routes of the shop, which are passed on where shop-api is another process.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{ADMIN, TIMEOUT, TestServer, problem};

/// Serves `routes` on a free port; returns the address.
async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// An address at which nothing listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, what).await.expect("it happens in time")
}

#[tokio::test]
async fn a_request_reaches_the_shop_as_it_was_sent_and_its_answer_comes_back() {
    let answer = |request: Request| async move {
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let seen = [text("range"), text("x-forwarded-for"), text("connection")].map(Option::unwrap_or_default);
        let line = format!("{} {} {}", request.method(), request.uri(), seen.join("|"));
        let headers = [("content-range", "bytes 1-2/9"), ("etag", "\"one\""), ("upload-offset", "7")];
        let response: Response = (StatusCode::PARTIAL_CONTENT, headers, line).into_response();
        response
    };
    let url = serve(Router::new().fallback(answer)).await;
    let server = TestServer::with_flags(&["--shop-api-url", &url]).await;
    for path in ["/v1/media/token?a=b", "/v1/books", "/v1/cart/1", "/shop.v1.ShopService/ViewCart"] {
        let response = server.request(Method::GET, path).header("range", "bytes=1-2").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        for (name, value) in [("content-range", "bytes 1-2/9"), ("etag", "\"one\""), ("upload-offset", "7")] {
            assert_eq!(response.headers()[name], value, "{path}");
        }
        assert_eq!(response.text().await.unwrap(), format!("GET {path} bytes=1-2|127.0.0.1|"));
    }
}

#[tokio::test]
async fn an_upload_is_passed_on_while_it_arrives() {
    let (arrived, mut pieces) = mpsc::channel(16);
    let answer = move |request: Request| {
        let arrived = arrived.clone();
        async move {
            let mut body = request.into_body().into_data_stream();
            while let Some(Ok(piece)) = body.next().await {
                arrived.send(piece).await.unwrap();
            }
            StatusCode::NO_CONTENT
        }
    };
    let url = serve(Router::new().fallback(answer)).await;
    let server = TestServer::with_flags(&["--shop-api-url", &url]).await;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let request = server.request(Method::PATCH, "/v1/uploads/token").body(reqwest::Body::wrap_stream(body));
    let pending = tokio::spawn(request.send());
    for piece in [&b"first"[..], b"second"] {
        sender.send(Ok(Bytes::from_static(piece))).await.unwrap();
        // It arrives although the request has not ended.
        assert_eq!(within(pieces.recv()).await.unwrap(), piece);
    }
    drop(sender);
    assert_eq!(within(pending).await.unwrap().unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_long_answer_is_passed_on_while_it_arrives() {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(Some(receiver)));
    let answer = move || {
        let receiver = receiver.clone();
        async move {
            let receiver = receiver.lock().await.take();
            let pieces = futures::stream::unfold(receiver, |receiver| async move {
                let mut receiver = receiver?;
                receiver.recv().await.map(|piece| (piece, Some(receiver)))
            });
            Body::from_stream(pieces)
        }
    };
    let url = serve(Router::new().fallback(answer)).await;
    let server = TestServer::with_flags(&["--shop-api-url", &url]).await;
    sender.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    let mut response = within(server.request(Method::GET, "/v1/media/token").send()).await.unwrap();
    assert_eq!(within(response.chunk()).await.unwrap().unwrap(), "first");
    drop(sender);
    assert_eq!(within(response.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn without_the_shop_its_routes_are_unknown_and_while_it_is_away_they_are_not_available() {
    let alone = TestServer::start().await;
    let (status, code, _) = problem(alone.get_as(ADMIN, "/v1/books").await).await;
    assert_eq!((status, code.as_str()), (StatusCode::NOT_FOUND, "unknown_path"));
    let url = nowhere().await;
    let server = TestServer::with_flags(&["--shop-api-url", &url]).await;
    let response = server.get_as(ADMIN, "/v1/books").await;
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
}
