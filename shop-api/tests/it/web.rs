//! grpc-web on the port for clients.

use prost::Message;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use shop_api::proto::auth_v1::SignUpRequest;

use crate::test_service::{PASSWORD, TestShop, email};

const SIGN_UP: &str = "/auth.v1.AuthenticationService/SignUp";

fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &bytes].concat()
}

async fn send(shop: &TestShop, media_type: &str, body: Vec<u8>) -> reqwest::Response {
    let request = reqwest::Client::new().post(format!("{}{SIGN_UP}", shop.url));
    request.header(CONTENT_TYPE, media_type).body(body).send().await.unwrap()
}

#[tokio::test]
async fn a_browser_calls_the_same_services() {
    let shop = TestShop::start().await;
    let message = SignUpRequest { email: email("ann"), password: PASSWORD.to_owned() };
    for status in ["grpc-status:0", "grpc-status:6"] {
        let response = send(&shop, "application/grpc-web+proto", framed(&message)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let in_headers =
            response.headers().get("grpc-status").map(|value| format!("grpc-status:{}", value.to_str().unwrap()));
        let body = response.bytes().await.unwrap();
        let found = in_headers.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
        assert!(found.contains(status), "{status} in {found:?}");
    }
}

#[tokio::test]
async fn other_requests_to_the_paths_of_grpc_web_get_problems() {
    let shop = TestShop::start().await;
    let response = send(&shop, "application/grpc", Vec::new()).await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "unsupported_media_type");
    let response = reqwest::get(format!("{}{SIGN_UP}", shop.url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}
