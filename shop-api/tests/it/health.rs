//! The standard services: health and reflection.

use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::test_service::TestShop;

const SERVICES: [&str; 3] = ["auth.v1.AuthenticationService", "shop.v1.ShopService", "shop.v1.AdminService"];

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn every_service_says_that_it_serves() {
    let shop = TestShop::start().await;
    let mut client = HealthClient::new(shop.channel());
    for service in SERVICES.iter().chain(&[""]) {
        // The first check runs when the port is open.
        testing::eventually("the service serves", async || {
            let answer = HealthClient::new(shop.channel()).check(named(service)).await;
            answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
        })
        .await;
    }
    let unknown = client.check(named("shop.v1.Nothing")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_stop_ends_the_streams_of_those_who_watch() {
    let shop = TestShop::start().await;
    let mut watching = HealthClient::new(shop.channel()).watch(named("")).await.unwrap().into_inner();
    assert!(watching.next().await.is_some_and(|first| first.is_ok()));
    let started = std::time::Instant::now();
    shop.stop().await;
    let mut last = None;
    while let Some(Ok(answer)) = watching.next().await {
        last = Some(answer.status());
    }
    assert!(last.is_none_or(|last| last == ServingStatus::NotServing || last == ServingStatus::Serving));
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "the stop waited for the stream");
}

#[tokio::test]
async fn reflection_lists_the_services_and_their_files() {
    let shop = TestShop::start().await;
    let ask = async |message: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let asked = tokio_stream::once(request);
        let mut answers =
            ServerReflectionClient::new(shop.channel()).server_reflection_info(asked).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())).await else {
        unreachable!("a list was asked for")
    };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for expected in SERVICES.iter().chain(&["grpc.health.v1.Health"]) {
        assert!(names.contains(expected), "{expected} in {names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("shop.v1.ShopService".to_owned());
    assert!(matches!(ask(symbol).await, MessageResponse::FileDescriptorResponse(_)));
}
