//! Two instances on one PostgreSQL and one Redis.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use contracts::TopicRole;
use futures::stream::{self, StreamExt};
use reqwest::StatusCode;
use serde_json::json;
use testing::eventually;
use uuid::Uuid;

use crate::support::{PASSWORD, TestServer, png, quota_of};

/// Sends requests to two instances in turn, 100 at a time. Returns the number of responses for each status.
async fn count_responses(
    number: usize,
    addresses: [SocketAddr; 2],
    request: impl Fn(SocketAddr) -> reqwest::RequestBuilder,
) -> BTreeMap<u16, usize> {
    let requests = (0..number).map(|index| request(addresses[index % 2]).send());
    let statuses = stream::iter(requests).buffer_unordered(100).map(|response| response.unwrap().status().as_u16());
    let mut counts = BTreeMap::new();
    for status in statuses.collect::<Vec<_>>().await {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// A user name that no other test uses.
fn unique_name() -> String {
    format!("u{}", Uuid::new_v4().simple())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn two_instances_share_one_quota() {
    let mut server = TestServer::on_real_backends(&[]).await;
    let addresses = [server.address, server.second_instance().await];
    let name = unique_name();
    server.create_user_with(&name, quota_of(100)).await;
    let token = server.access_token(&name).await;
    let counts = count_responses(1000, addresses, |address| {
        let request = server.client.post(format!("http://{address}/v1/frames")).bearer_auth(&token);
        request.header("content-type", "image/png").body(png(9, 9, 900))
    });
    assert_eq!(counts.await, [(202, 100), (429, 900)].into());
    assert_eq!(server.message_count(TopicRole::Frames).await, 100);
}

/// Whether the second instance counts the request that a new user sent to the first one: of ten requests, eight are left.
async fn share_rate_limit(server: &TestServer, addresses: [SocketAddr; 2]) -> bool {
    let name = unique_name();
    server.create_user(&name).await;
    let token = server.access_token(&name).await;
    let me = async |address: SocketAddr| {
        server.client.get(format!("http://{address}/v1/users/me")).bearer_auth(&token).send().await.unwrap()
    };
    me(addresses[0]).await;
    let response = me(addresses[1]).await;
    response.headers()["ratelimit"].to_str().unwrap().contains(";r=8")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn two_instances_share_one_rate_limit() {
    let mut server = TestServer::on_real_backends(&[]).await;
    let addresses = [server.address, server.second_instance().await];
    // The first call of Redis opens its connection. If that exceeds the time limit of a call, the instance counts for itself for a second.
    eventually("the instances share the limit", async || share_rate_limit(&server, addresses).await).await;
    let name = unique_name();
    server.create_user(&name).await;
    let token = server.access_token(&name).await;
    let started = tokio::time::Instant::now();
    let counts = count_responses(100, addresses, |address| {
        server.client.get(format!("http://{address}/v1/users/me")).bearer_auth(&token)
    });
    let counts = counts.await;
    // The burst of ten, and ten for each second.
    let most = 10 + usize::try_from(started.elapsed().as_millis() / 100).unwrap() + 1;
    let accepted = counts[&200];
    assert!((10..=most).contains(&accepted), "{counts:?} in {:?}", started.elapsed());
    assert_eq!(accepted + counts[&429], 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn revocation_reaches_the_other_instance_in_a_second() {
    let mut server = TestServer::on_real_backends(&["--rate-limit-rps", "none"]).await;
    let other = server.second_instance().await;
    let name = unique_name();
    server.create_user(&name).await;
    let token = server.access_token(&name).await;
    let login = json!({"username": name, "password": PASSWORD});
    let login = server.post_anonymously("/login", &login).await;
    let session = login.headers()["authorization"].clone();
    let at_other = async || {
        let me = server.client.get(format!("http://{other}/v1/users/me")).bearer_auth(&token).send().await.unwrap();
        let name = server.client.get(format!("http://{other}/getName")).header("authorization", session.clone());
        (me.status(), name.send().await.unwrap().status())
    };
    assert_eq!(at_other().await, (StatusCode::OK, StatusCode::OK), "both instances accept the session");
    server.delete_as(&token, "/v1/sessions").await;
    let started = tokio::time::Instant::now();
    while at_other().await != (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED) {
        assert!(started.elapsed() < Duration::from_secs(1), "still accepted by the other instance");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
