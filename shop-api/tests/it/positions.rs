//! Where a listener stopped, told over both protocols by several devices.

use reqwest::Method;
use serde_json::json;
use shop_api::proto::shop_v1::{GetPositionRequest, GetPositionResponse, PutPositionRequest};
use shop_api::proto::timestamp;
use tonic::Code;

use crate::both::{Both, denied, on_sale};
use crate::test_service::TestShop;

#[tokio::test]
async fn the_latest_event_is_the_position() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let book = on_sale(&shop.database, "Emma", 1_299).await;
    let (path, audiobook_id) = (format!("/v1/books/{book}/position"), book.to_string());
    let told = |position_ms: i64, at: &str| PutPositionRequest {
        audiobook_id: audiobook_id.clone(),
        position_ms,
        event_time: Some(timestamp(at.parse().unwrap())),
    };
    let early = told(5, "2026-01-02T03:04:05Z");
    let not_bought = (Code::PermissionDenied, "not_bought".to_owned());
    assert_eq!(denied(ann.shop().put_position(ann.call(early.clone())).await), not_bought);
    ann.put(&format!("/v1/cart/{book}")).await;
    ann.shop().checkout(ann.call(())).await.unwrap();

    assert_eq!(ann.get(&path).await, json!({"position_ms": 0}), "nothing is told yet");
    let get = || GetPositionRequest { audiobook_id: audiobook_id.clone() };
    let position = ann.shop().get_position(ann.call(get())).await.unwrap().into_inner();
    assert_eq!(position, GetPositionResponse { position_ms: 0, event_time: None });

    // A clock of no year that a database has.
    let ancient = json!({"position_ms": 2, "event_time": "-009000-01-01T00:00:00Z"});
    let (status, stored) = ann.send(Method::PUT, &path, Some(ancient)).await;
    assert_eq!((status, stored), (200, json!({"position_ms": 2, "event_time": "1970-01-01T00:00:00Z"})));

    let late = json!({"position_ms": 60_000, "event_time": "2026-01-02T04:00:00Z"});
    let (status, stored) = ann.send(Method::PUT, &path, Some(late.clone())).await;
    assert_eq!((status, &stored), (200, &late));
    // The other device was offline, and tells later what was earlier.
    let kept = ann.shop().put_position(ann.call(early)).await.unwrap().into_inner();
    assert_eq!(kept.position_ms, 60_000);
    assert_eq!(ann.get(&path).await, late);
    let later = told(61_000, "2026-01-02T04:00:01Z");
    ann.shop().put_position(ann.call(later.clone())).await.unwrap();
    let position = ann.shop().get_position(ann.call(get())).await.unwrap().into_inner();
    assert_eq!((position.position_ms, position.event_time), (61_000, later.event_time));
    // A clock that is ahead does not win for ever: its event counts as now.
    let (_, stored) =
        ann.send(Method::PUT, &path, Some(json!({"position_ms": 1, "event_time": "2999-01-01T00:00:00Z"}))).await;
    assert!(stored["event_time"].as_str().unwrap() < "2999", "{stored}");

    let persuasion = on_sale(&shop.database, "Persuasion", 1_299).await;
    ann.put(&format!("/v1/cart/{persuasion}")).await;
    ann.shop().checkout(ann.call(())).await.unwrap();
    // PostgreSQL has no such year.
    let ancient = json!({"position_ms": 7, "event_time": "-009000-01-01T00:00:00Z"});
    let (status, stored) = ann.send(Method::PUT, &format!("/v1/books/{persuasion}/position"), Some(ancient)).await;
    assert_eq!((status, stored), (200, json!({"position_ms": 7, "event_time": "1970-01-01T00:00:00Z"})));

    for body in [
        json!({"position_ms": -1}),
        json!({"position_ms": 1.5}),
        json!({}),
        json!({"position_ms": 1, "event_time": "soon"}),
    ] {
        assert_eq!(ann.refused(Method::PUT, &path, Some(body.clone())).await.0, 422, "{body}");
    }
    let negative = PutPositionRequest { position_ms: -1, ..later };
    let refused = denied(ann.shop().put_position(ann.call(negative)).await);
    assert_eq!(refused, (Code::InvalidArgument, "invalid".to_owned()));
}
