//! Which alerts a client sees, and in which shape.

use contracts::{AlertEvent, TenantId, Vehicle};
use serde_json::json;

use crate::client::{SseClient, request};
use crate::test_stream::{ADMIN, TestStream, alert, alerts, reader};

fn alert_of(number: u128, tenant: &str, stream: &str, label: &str, rule: &str) -> AlertEvent {
    let mut alert = alert(number);
    alert.tenant = tenant.parse().unwrap();
    alert.data.stream = Some(stream.parse().unwrap());
    label.clone_into(&mut alert.data.label);
    rule.clone_into(&mut alert.data.rule);
    alert
}

#[tokio::test]
async fn a_tenant_sees_own_and_shared_alerts_and_an_admin_all() {
    let test = TestStream::new();
    test.accounts.add("of-alice", reader("alice", None));
    let replica = test.replica(&[]).await;
    let (mut alice, mut admin) =
        (SseClient::listen(replica.address, "of-alice").await, SseClient::listen(replica.address, ADMIN).await);
    let tenants = ["alice", "bob", "shared", "bob", "alice"];
    test.publish((0..).zip(tenants).map(|(number, tenant)| alert_of(number, tenant, "gate-1", "face", "any"))).await;
    assert_eq!(alice.numbers(3).await, [0, 2, 4]);
    assert_eq!(admin.numbers(5).await, [0, 1, 2, 3, 4]);
    replica.stop().await;
}

#[tokio::test]
async fn filters_combine_stream_label_and_rule() {
    let test = TestStream::new();
    let replica = test.replica(&["--alert-window", "2"]).await;
    let beginning = SseClient::listen(replica.address, ADMIN).await.last_id.unwrap();
    test.publish([
        alert_of(0, "shared", "gate-1", "face", "hats"),
        alert_of(1, "shared", "gate-2", "face", "hats"),
        alert_of(2, "shared", "gate-1", "car", "hats"),
        alert_of(3, "shared", "gate-1", "face", "coats"),
        alert_of(4, "shared", "gate-1", "face", "hats"),
    ])
    .await;
    for (query, expected) in [
        ("stream=gate-1", &[0, 2, 3, 4][..]),
        ("label=face", &[0, 1, 3, 4]),
        ("rule=hats", &[0, 1, 2, 4]),
        ("stream=gate-1&label=face&rule=hats", &[0, 4]),
    ] {
        let path = format!("/v1/alerts?{query}&last_event_id={beginning}");
        let mut client = SseClient::send(request(replica.address, &path, ADMIN)).await;
        assert_eq!(client.numbers(expected.len()).await, expected, "{query}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn heartbeats_move_the_cursor_of_a_client_without_alerts() {
    let test = TestStream::new();
    let replica = test.replica(&["--alert-heartbeat-seconds", "1"]).await;
    let mut idle = SseClient::send(request(replica.address, "/v1/alerts?label=nothing", ADMIN)).await;
    let first = idle.last_id.clone().unwrap();
    test.publish(alerts(0..5)).await;
    let mut heartbeats = 0;
    let heartbeat = loop {
        heartbeats += 1;
        assert!(heartbeats < 20, "the heartbeats do not move the cursor");
        let event = idle.next().await.unwrap();
        assert!(event.name.is_none() && event.comment.is_some(), "{event:?}");
        if event.id.as_ref() != Some(&first) {
            break event.id.unwrap();
        }
    };
    test.publish(alerts(5..6)).await;
    let mut client = SseClient::resume(replica.address, ADMIN, &heartbeat).await;
    assert_eq!(client.numbers(1).await, [5], "alerts that were filtered out are not sent again");
    replica.stop().await;
}

#[tokio::test]
async fn older_clients_get_flat_vehicles_only() {
    let test = TestStream::new();
    let replica = test.replica(&[]).await;
    let mut client = SseClient::send(request(replica.address, "/alerts", ADMIN)).await;
    let mut vehicle = alert_of(2, "shared", "gate-1", "vehicle", "suspicious-vehicle");
    vehicle.tenant = TenantId::shared();
    vehicle.data.attributes = Vehicle {
        category: Some("SUV".to_owned()),
        make: Some("Audi".to_owned()),
        model: Some("Q3".to_owned()),
        year: Some(2020),
    }
    .into();
    test.publish([alert(1), vehicle]).await;
    let event = client.named_event().await;
    assert!(event.is("new_alert"), "{event:?}");
    let data = event.data.unwrap();
    for (field, expected) in [
        ("year", json!(2020)),
        ("make", json!("Audi")),
        ("model", json!("Q3")),
        ("category", json!("SUV")),
        ("created_at", json!("2026-01-02T03:04:05Z")),
    ] {
        assert_eq!(data[field], expected, "{field}");
    }
    replica.stop().await;
}
