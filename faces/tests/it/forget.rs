//! A deleted subject is forgotten in documents and on images, and what comes for a deleted user is erased.

use std::sync::Arc;

use contracts::{BoundingBox, SubjectId};
use faces::Deps;
use faces::uploads::{UploadFolder, Uploads};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::{ResultStore, TenantScope};

use crate::stored::SeenFrame;
use crate::test_service::TestService;
use crate::test_uploads::{LIMIT, TestUploads};

const BOX: BoundingBox = BoundingBox { x: 10.0, y: 10.0, width: 50.0, height: 50.0 };

async fn seen(service: &TestService, tenant: &str, subject: &str) -> SeenFrame {
    service.seen(tenant, subject, BOX, b"image".to_vec()).await
}

async fn delete(service: &TestService, tenant: &str, subject: &str) -> (StatusCode, Value) {
    service.send(tenant, Method::DELETE, &format!("/v1/faces/subjects/{subject}"), Vec::new()).await
}

fn word(word: &str) -> (Option<String>, Option<String>) {
    (Some(word.to_owned()), None)
}

fn recognised(subject: &str) -> (Option<String>, Option<String>) {
    (Some("subject".to_owned()), Some(subject.to_owned()))
}

#[tokio::test]
async fn a_deleted_subject_is_forgotten_and_the_receipt_says_what_is_left() {
    let service = TestService::start(None).await;
    let (gone, stays) = (service.subject("a", "Ann").await, service.subject("a", "Ben").await);
    let of_gone = [seen(&service, "a", &gone).await, seen(&service, "a", &gone).await];
    let of_other = seen(&service, "a", &stays).await;
    let of_tenant_b = seen(&service, "b", &gone).await;

    let (status, receipt) = delete(&service, "a", &gone).await;

    assert_eq!(status, StatusCode::OK, "{receipt}");
    assert_eq!([&receipt["detections"], &receipt["alerts"], &receipt["images"]], [&json!(2); 3], "{receipt}");
    for frame in &of_gone {
        assert_eq!(service.identity(frame).await, word("forgotten"));
        assert_eq!(service.has_image(frame).await, (false, false));
    }
    for (frame, subject) in [(&of_other, &stays), (&of_tenant_b, &gone)] {
        assert_eq!(service.identity(frame).await, recognised(subject));
        assert_eq!(service.has_image(frame).await, (true, true));
    }
    let mut alerted = service.alerted().await;
    alerted.sort();
    let mut expected = [None, None, Some(stays.clone()), Some(gone.clone())];
    expected.sort();
    assert_eq!(alerted, expected);

    let remaining = receipt["remaining"].as_array().unwrap();
    let holds = |place: &str| remaining.iter().find(|data| data["place"] == place).map(|data| data["holds"].clone());
    assert_eq!(holds("topic sightline.results"), Some(json!("subject_id")));
    assert_eq!(holds("topic sightline.alerts"), Some(json!("subject_id")));
    assert_eq!(holds("topic sightline.frames"), Some(json!("images")));
    assert_eq!(holds("topic sightline.frames.dlq"), Some(json!("images")));
    assert_eq!(holds("backups"), Some(json!("everything")));
    let dated = remaining.iter().filter(|data| data["until"].is_string()).count();
    assert_eq!(dated, remaining.len() - 2, "all but the backups and photographs of other programs: {receipt}");
    assert_eq!(delete(&service, "a", &gone).await.0, StatusCode::NOT_FOUND, "nothing is left");
    assert_eq!(delete(&service, "a", &stays).await.1["detections"], 1);
}

#[tokio::test]
async fn deleting_again_finishes_a_deletion_that_failed() {
    let service = TestService::start(None).await;
    let gone = service.subject("a", "Ann").await;
    let frame = seen(&service, "a", &gone).await;
    let (tenant, id) = ("a".parse().unwrap(), gone.parse().unwrap());
    // The process ended right after the subject was deleted.
    service.database.delete_subject(&tenant, id, Timestamp::now()).await.unwrap().unwrap();

    let (status, receipt) = delete(&service, "a", &gone).await;

    assert_eq!((status, &receipt["detections"], &receipt["enrolled"]), (StatusCode::OK, &json!(1), &json!(0)));
    assert_eq!((service.identity(&frame).await, service.has_image(&frame).await), (word("forgotten"), (false, false)));
    assert_eq!(delete(&service, "a", &gone).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_person_is_forgotten_under_each_merged_id() {
    let service = TestService::start(None).await;
    let (first, second) = (service.subject("a", "Ann").await, service.subject("a", "Ann again").await);
    let frames = [seen(&service, "a", &first).await, seen(&service, "a", &second).await];
    let merge = format!("/v1/faces/subjects/{first}/merge");
    assert_eq!(service.json("a", Method::POST, &merge, json!({"from": second})).await.0, StatusCode::OK);

    assert_eq!(delete(&service, "a", &second).await.0, StatusCode::NOT_FOUND, "it is another subject now");
    assert_eq!(service.identity(&frames[1]).await, recognised(&second));

    let (_, receipt) = delete(&service, "a", &first).await;

    assert_eq!([&receipt["detections"], &receipt["images"]], [&json!(2); 2]);
    for frame in &frames {
        assert_eq!(service.identity(frame).await, word("forgotten"));
    }
}

/// Those of another instance.
fn deps(service: &TestService, uploads: Option<Uploads>) -> Deps {
    Deps {
        accounts: Arc::new(crate::test_service::Tenants),
        galleries: gallery::Galleries::new(Arc::new(service.database.clone()), 1 << 20),
        database: service.database.clone(),
        documents: service.documents.clone(),
        blobs: service.blobs.clone(),
        topics: contracts::Topics::parse(contracts::topics::DEFAULT).unwrap(),
        uploads,
        traces: platform::traces::Traces::off(),
    }
}

/// As in another instance, whose first look finds what is due.
#[tokio::test]
async fn a_result_that_comes_after_the_deletion_is_forgotten_too() {
    let service = TestService::start(None).await;
    let gone = service.subject("a", "Ann").await;
    let (tenant, id) = ("a".parse().unwrap(), gone.parse().unwrap());
    let past = Timestamp::now() - SignedDuration::from_mins(5);
    service.database.delete_subject(&tenant, id, past).await.unwrap().unwrap();
    let late = seen(&service, "a", &gone).await;
    let deps = deps(&service, None);
    let task = tokio::spawn(async move { faces::forget_regularly(&deps).await });
    let is_done = async || {
        let due = service.database.former_subjects_due(Timestamp::now(), 9).await.unwrap();
        let is_forgotten = service.identity(&late).await == word("forgotten");
        is_forgotten && service.has_image(&late).await == (false, false) && due.is_empty()
    };
    let mut tries = 0;
    while !is_done().await {
        tries += 1;
        assert!(tries < 500, "a late result still has the id");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    task.abort();
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let due = service.database.former_subjects_due(later, 9).await.unwrap();
    assert_eq!(due.iter().map(|former| former.id).collect::<Vec<_>>(), [id], "it is looked for again");
}

#[tokio::test]
async fn what_comes_after_the_deletion_of_a_user_is_erased_too() {
    let test = TestUploads::start(None).await;
    let (service, database, user) = (&test.service, test.database(), test.user("ann").await);
    let now = Timestamp::now();
    assert!(database.delete_user(user.id, now - SignedDuration::from_mins(5), now).await.unwrap());
    let (gone, stays) = (SubjectId::now().to_string(), SubjectId::now().to_string());
    let late = seen(service, user.tenant.as_str(), &gone).await;
    let of_other = seen(service, "b", &stays).await;
    let folder = Arc::new(UploadFolder::open(&test.root, LIMIT).unwrap());
    let photographs = [&user.tenant, &"b".parse().unwrap()].map(|tenant| folder.write(tenant, b"image").unwrap());

    let deps = deps(service, Some(Uploads::new(Arc::clone(&test.bus), folder)));
    let task = tokio::spawn(async move { faces::forget_regularly(&deps).await });

    let is_done = async || {
        let documents = &service.documents;
        let results = documents.frame(&TenantScope::All, late.detection.frame).await.unwrap();
        let detection = documents.detection(&TenantScope::All, &late.detection).await.unwrap();
        let is_erased = results.is_empty() && detection.is_none() && service.alerted().await == [Some(stays.clone())];
        let due = database.deleted_tenants_due(Timestamp::now(), 9).await.unwrap();
        is_erased && service.has_image(&late).await == (false, false) && due.is_empty()
    };
    let mut tries = 0;
    while !is_done().await {
        tries += 1;
        assert!(tries < 500, "what came after the deletion is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    task.abort();
    assert_eq!(service.identity(&of_other).await, recognised(&stays));
    assert_eq!(service.has_image(&of_other).await, (true, true));
    assert_eq!(photographs.map(|photograph| test.root.join(photograph).exists()), [false, true]);
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let due = database.deleted_tenants_due(later, 9).await.unwrap();
    assert_eq!(due.iter().map(|deleted| deleted.user).collect::<Vec<_>>(), [user.id], "it is erased again");
}
