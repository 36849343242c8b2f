//! Who sees what, in which shape.

use contracts::{AlertEvent, TenantId, Vehicle};
use serde_json::json;

use crate::client::{Client, request};
use crate::world::{ADMIN, World, alert, alerts, reader};

fn of(number: u128, tenant: &str, stream: &str, label: &str, rule: &str) -> AlertEvent {
    let mut alert = alert(number);
    alert.tenant = tenant.parse().unwrap();
    alert.data.stream = Some(stream.parse().unwrap());
    label.clone_into(&mut alert.data.label);
    rule.clone_into(&mut alert.data.rule);
    alert
}

#[tokio::test]
async fn a_tenant_sees_its_own_and_the_shared_and_an_admin_sees_all() {
    let world = World::new();
    world.doorman.admit("of-alice", reader("alice", None));
    let replica = world.replica(&[]).await;
    let (mut alice, mut admin) =
        (Client::listen(replica.address, "of-alice").await, Client::listen(replica.address, ADMIN).await);
    let tenants = ["alice", "bob", "shared", "bob", "alice"];
    world.publish((0..).zip(tenants).map(|(number, tenant)| of(number, tenant, "gate-1", "face", "any"))).await;
    assert_eq!(alice.numbers(3).await, [0, 2, 4]);
    assert_eq!(admin.numbers(5).await, [0, 1, 2, 3, 4]);
    replica.stop().await;
}

#[tokio::test]
async fn filters_take_stream_label_and_rule_together() {
    let world = World::new();
    let replica = world.replica(&["--alert-window", "2"]).await;
    let beginning = Client::listen(replica.address, ADMIN).await.last_id.unwrap();
    world
        .publish([
            of(0, "shared", "gate-1", "face", "hats"),
            of(1, "shared", "gate-2", "face", "hats"),
            of(2, "shared", "gate-1", "car", "hats"),
            of(3, "shared", "gate-1", "face", "coats"),
            of(4, "shared", "gate-1", "face", "hats"),
        ])
        .await;
    for (query, expected) in [
        ("stream=gate-1", &[0, 2, 3, 4][..]),
        ("label=face", &[0, 1, 3, 4]),
        ("rule=hats", &[0, 1, 2, 4]),
        ("stream=gate-1&label=face&rule=hats", &[0, 4]),
    ] {
        let path = format!("/v1/alerts?{query}&last_event_id={beginning}");
        let mut client = Client::send(request(replica.address, &path, ADMIN)).await;
        assert_eq!(client.numbers(expected.len()).await, expected, "{query}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn who_sees_nothing_keeps_a_place_by_heartbeats() {
    let world = World::new();
    let replica = world.replica(&["--alert-heartbeat-seconds", "1"]).await;
    let mut idle = Client::send(request(replica.address, "/v1/alerts?label=nothing", ADMIN)).await;
    let first = idle.last_id.clone().unwrap();
    world.publish(alerts(0..5)).await;
    let mut beats = 0;
    let beat = loop {
        beats += 1;
        assert!(beats < 20, "the heartbeats stay where the stream began");
        let block = idle.next().await.unwrap();
        assert!(block.event.is_none() && block.comment.is_some(), "{block:?}");
        if block.id.as_ref() != Some(&first) {
            break block.id.unwrap();
        }
    };
    world.publish(alerts(5..6)).await;
    let mut client = Client::resume(replica.address, ADMIN, &beat).await;
    assert_eq!(client.numbers(1).await, [5], "what was filtered out before is not sent again");
    replica.stop().await;
}

#[tokio::test]
async fn older_clients_get_vehicles_flat_and_nothing_else() {
    let world = World::new();
    let replica = world.replica(&[]).await;
    let mut client = Client::send(request(replica.address, "/alerts", ADMIN)).await;
    let mut vehicle = of(2, "shared", "gate-1", "vehicle", "suspicious-vehicle");
    vehicle.tenant = TenantId::shared();
    vehicle.data.attributes = Vehicle {
        category: Some("SUV".to_owned()),
        make: Some("Audi".to_owned()),
        model: Some("Q3".to_owned()),
        year: Some(2020),
    }
    .into();
    world.publish([alert(1), vehicle]).await;
    let block = client.event().await;
    assert!(block.is("new_alert"), "{block:?}");
    let data = block.data.unwrap();
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
