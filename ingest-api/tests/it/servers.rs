//! The same on PostgreSQL and Redis, with two instances that share nothing else but the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use accounts::Granted;
use contracts::TopicRole;
use futures::stream::{self, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::json;
use store::relational::Allowance;
use uuid::Uuid;

use crate::site::{Site, png};

/// How many of each status came of requests that went to one instance and the other by turns, many at once.
async fn answered(
    many: usize,
    addresses: [SocketAddr; 2],
    request: impl Fn(SocketAddr) -> reqwest::RequestBuilder,
) -> BTreeMap<u16, usize> {
    let requests = (0..many).map(|number| request(addresses[number % 2]).send());
    let statuses = stream::iter(requests).buffer_unordered(100).map(|answer| answer.unwrap().status().as_u16());
    let mut counts = BTreeMap::new();
    for status in statuses.collect::<Vec<_>>().await {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// A name that no other test has.
fn name() -> String {
    format!("u{}", Uuid::new_v4().simple())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn of_a_thousand_frames_at_once_two_instances_accept_as_many_as_the_quota() {
    let mut site = Site::on_servers(&[]).await;
    let addresses = [site.address, site.other_process().await];
    let granted = Granted { quota: Allowance::AtMost(100), rate_limit: Allowance::Unlimited, ..Granted::default() };
    let name = name();
    site.user_with(&name, granted).await;
    let token = site.access_token(&name).await;
    let counts = answered(1000, addresses, |address| {
        let request = site.client.post(format!("http://{address}/v1/frames")).bearer_auth(&token);
        request.header("content-type", "image/png").body(png(9, 9, 900))
    });
    assert_eq!(counts.await, [(202, 100), (429, 900)].into());
    assert_eq!(site.messages(TopicRole::Frames).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn two_instances_have_one_limit_on_requests() {
    let mut site = Site::on_servers(&[]).await;
    let addresses = [site.address, site.other_process().await];
    let name = name();
    site.user(&name).await;
    let token = site.access_token(&name).await;
    let began = tokio::time::Instant::now();
    let counts = answered(100, addresses, |address| {
        site.client.get(format!("http://{address}/v1/users/me")).bearer_auth(&token)
    });
    let counts = counts.await;
    // Ten at once, and ten for each second that it took.
    let most = 10 + usize::try_from(began.elapsed().as_millis() / 100).unwrap() + 1;
    let taken = counts[&200];
    assert!((10..=most).contains(&taken), "{counts:?} in {:?}", began.elapsed());
    assert_eq!(taken + counts[&429], 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn what_one_instance_takes_back_the_other_refuses_within_a_second() {
    let mut site = Site::on_servers(&["--rate-limit-rps", "none"]).await;
    let other = site.other_process().await;
    let name = name();
    site.user(&name).await;
    let token = site.access_token(&name).await;
    let login = json!({"username": name, "password": crate::site::PASSWORD});
    let login = site.stranger(Method::POST, "/login").json(&login).send().await.unwrap();
    let session = login.headers()["authorization"].clone();
    let at_other = async || {
        let me = site.client.get(format!("http://{other}/v1/users/me")).bearer_auth(&token).send().await.unwrap();
        let name = site.client.get(format!("http://{other}/getName")).header("authorization", session.clone());
        (me.status(), name.send().await.unwrap().status())
    };
    assert_eq!(at_other().await, (StatusCode::OK, StatusCode::OK), "a session of one instance counts at the other");
    site.request_as(&token, Method::DELETE, "/v1/sessions").send().await.unwrap();
    let began = tokio::time::Instant::now();
    while at_other().await != (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED) {
        assert!(began.elapsed() < Duration::from_secs(1), "still accepted by the other instance");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
