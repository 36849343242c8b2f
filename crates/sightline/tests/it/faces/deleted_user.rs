//! What the check says about a deleted user.

use super::{TestUser, recognised_as};
use crate::processes::TestServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_user_is_checked_with_its_tenant() {
    let up = TestServer::start(&[]).await;
    let ann = TestUser::add(&up, "ann").await;
    let subject = ann.subject("Ann").await;
    ann.detection(&recognised_as(&subject)).await;
    let (_, before, _) = up.outcome(&["erase", "check", &ann.id]);
    let tenant = before.lines().next().unwrap().to_owned();
    assert!(tenant.starts_with("the user's data have the tenant "), "{before}");
    assert!(before.lines().any(|line| line.starts_with("documents detections 1")), "{before}");

    let path = format!("{}/v1/users/{}", up.url, ann.id);
    let deleted = reqwest::Client::new().delete(path).bearer_auth(&up.token).send().await.unwrap();
    assert_eq!(deleted.status(), reqwest::StatusCode::NO_CONTENT);

    let (is_clean, after, error) = up.outcome(&["erase", "check", &ann.id]);
    assert!(is_clean && after.lines().next() == Some(tenant.as_str()), "{after}{error}");
    let recorded = "accounts deleted_tenants 1 (deleted_user 1, tenant 1): in the receipt until 20";
    assert!(after.lines().any(|line| line.starts_with(recorded)), "{after}");
    assert!(
        after.lines().any(|line| line.starts_with("topic sightline.results 1: in the receipt until 20")),
        "{after}"
    );
}
