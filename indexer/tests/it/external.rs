//! Bare vehicle JSON of external producers.

use contracts::{Headers, Message, TenantId};
use store::{DetectionFilter, GroupBy, PageRequest, TenantScope};

use crate::test_indexer::{TestIndexer, eventually};

fn external(value: &str) -> Message {
    Message { key: None, headers: Headers::new(), value: value.to_owned().into() }
}

#[tokio::test]
async fn external_vehicles_are_indexed() {
    vehicles(&TestIndexer::new()).await;
}

/// Vehicles in every shape, one of them twice.
pub async fn vehicles(test: &TestIndexer) {
    let indexer = test.index(&[]);
    for _ in 0..2 {
        // The same bytes twice are two vehicles: they have two offsets.
        test.publish(external(r#"{"Year":2020,"Make":"Audi","Model":"Q3","Category":"SUV"}"#)).await;
    }
    test.publish(external(
        r#"{"year":1999,"make":"Fiat","model":"Punto","category":"Hatchback","created_at":"1999-05-01 12:00:00"}"#,
    ))
    .await;
    let mut typed = external(
        r#"{"year":2021,"make":"Kia","model":"Niro","category":"suv","created_at":"2024-05-01T12:00:00+02:00"}"#,
    );
    typed.headers.push("ce_type", "com.example.vehicle");
    test.publish(typed).await;
    let shared = TenantScope::Tenant(TenantId::shared());
    let by_make =
        async || test.documents.count(&shared, &DetectionFilter::default(), GroupBy::Make).await.unwrap().items;
    eventually("four vehicles are stored", async || by_make().await.iter().map(|group| group.count).sum::<u64>() == 4)
        .await;
    test.all_finished().await;
    indexer.stop().await;

    let counts: Vec<(String, u64)> = by_make().await.into_iter().map(|group| (group.key, group.count)).collect();
    assert_eq!(counts, [("Audi".to_owned(), 2), ("Fiat".to_owned(), 1), ("Kia".to_owned(), 1)]);
    let oldest = PageRequest::Oldest { skip: 0, limit: 2 };
    let detections = test.documents.detections(&shared, &DetectionFilter::default(), &oldest).await.unwrap();
    let dates: Vec<String> = detections.iter().map(|detection| detection.captured_at.to_string()).collect();
    assert_eq!(dates, ["1999-05-01T12:00:00Z", "2024-05-01T10:00:00Z"]);
    let alerts = test.alerts().await;
    assert_eq!(alerts.len(), 3, "one for each SUV in any case: {alerts:?}");
    assert!(alerts.iter().all(|alert| alert.data.rule == "suspicious-vehicle" && alert.tenant == TenantId::shared()));
}
