//! Deadlines of calls, with a client that speaks HTTP/2 by itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use crate::test_service::TestShop;

/// A connection of HTTP/2 that knows nothing about gRPC.
pub struct Http2 {
    requests: SendRequest<Bytes>,
}

impl Http2 {
    pub async fn connect(shop: &TestShop) -> Self {
        let stream = TcpStream::connect(shop.grpc).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self { requests }
    }

    /// Waits until a further request can be sent.
    pub async fn ready(&mut self) -> Result<(), h2::Error> {
        self.requests = self.requests.clone().ready().await?;
        Ok(())
    }

    /// Begins a call, without its message.
    pub fn begin(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let mut request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.requests.send_request(request.body(()).unwrap(), false)
    }
}

/// The status of a call: in the headers, or in the trailers.
pub async fn grpc_status(response: Response<h2::RecvStream>) -> String {
    let text = |headers: &HeaderMap| headers.get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
    if let Some(status) = text(response.headers()) {
        return status;
    }
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    text(&body.trailers().await.unwrap().unwrap()).unwrap()
}

const SIGN_IN: &str = "/auth.v1.AuthenticationService/SignIn";

#[tokio::test]
async fn a_call_ends_at_the_deadline_of_its_client() {
    let shop = TestShop::start().await;
    let mut client = Http2::connect(&shop).await;
    let started = Instant::now();
    // The message never comes.
    let (response, _unfinished) = client.begin(SIGN_IN, &[("grpc-timeout", "200m")]).unwrap();
    assert_eq!(grpc_status(response.await.unwrap()).await, "4");
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&started.elapsed()));
}

#[tokio::test]
async fn a_call_without_a_deadline_has_a_limit() {
    let shop = TestShop::with(&["--grpc-call-seconds", "1"]).await;
    let mut client = Http2::connect(&shop).await;
    let (response, _unfinished) = client.begin(SIGN_IN, &[]).unwrap();
    assert_eq!(grpc_status(response.await.unwrap()).await, "4");
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_an_invalid_argument() {
    let shop = TestShop::start().await;
    let mut client = Http2::connect(&shop).await;
    for wrong in ["soon", "1", "123456789S", "-1S"] {
        client.ready().await.unwrap();
        let (response, _unfinished) = client.begin(SIGN_IN, &[("grpc-timeout", wrong)]).unwrap();
        assert_eq!(grpc_status(response.await.unwrap()).await, "3", "{wrong}");
    }
}
