//! Watchlists over HTTP, without a model.

use contracts::SubjectId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::WatchlistStore;

use crate::test_service::TestService;

const LISTS: &str = "/v1/faces/watchlists";

impl TestService {
    /// Creates a list, or replaces its subjects.
    async fn watch(&self, name: &str, subjects: &[&String]) {
        let path = format!("{LISTS}/{name}");
        let (status, list) = self.json("a", Method::PUT, &path, json!({"subjects": subjects})).await;
        assert_eq!((status, &list["name"]), (StatusCode::OK, &json!(name)), "{list}");
    }

    async fn watched(&self, name: &str) -> Value {
        self.get("a", &format!("{LISTS}/{name}")).await.1["subjects"].take()
    }

    async fn status(&self, method: Method, path: &str) -> StatusCode {
        self.send("a", method, path, Vec::new()).await.0
    }
}

#[tokio::test]
async fn watchlists_are_created_changed_and_deleted() {
    let service = TestService::start(None).await;
    // Ids of subjects are in the order of their creation.
    let (ann, ben) = (service.subject("a", "Ann").await, service.subject("a", "Ben").await);
    service.watch("staff", &[&ben, &ann, &ben]).await;
    assert_eq!(service.watched("staff").await, json!([ann, ben]));
    service.watch("guests", &[]).await;
    let (_, page) = service.get("a", LISTS).await;
    assert_eq!(page["items"], json!([{"name": "guests", "count": 0}, {"name": "staff", "count": 2}]));

    let member = format!("{LISTS}/guests/subjects/{ann}");
    for _ in 0..2 {
        assert_eq!(service.status(Method::PUT, &member).await, StatusCode::NO_CONTENT);
        assert_eq!(service.watched("guests").await, json!([ann]));
    }
    assert_eq!(service.status(Method::DELETE, &member).await, StatusCode::NO_CONTENT);
    assert_eq!(service.status(Method::DELETE, &member).await, StatusCode::NOT_FOUND);
    service.watch("staff", &[&ben]).await;
    assert_eq!(service.watched("staff").await, json!([ben]));

    let staff = format!("{LISTS}/staff");
    assert_eq!(service.status(Method::DELETE, &staff).await, StatusCode::NO_CONTENT);
    for (method, path) in [
        (Method::GET, staff.clone()),
        (Method::DELETE, staff.clone()),
        (Method::PUT, format!("{staff}/subjects/{ben}")),
        (Method::DELETE, format!("{staff}/subjects/{ben}")),
    ] {
        let refused = service.refused("a", method.clone(), &path, Vec::new()).await;
        assert_eq!(refused, (404, "not_found".to_owned()), "{method} {path}");
    }
}

#[tokio::test]
async fn deleted_and_merged_subjects_leave_the_watchlists() {
    let service = TestService::start(None).await;
    let (ann, ben) = (service.subject("a", "Ann").await, service.subject("a", "Ben").await);
    let (cid, dan) = (service.subject("a", "Cid").await, service.subject("a", "Dan").await);
    service.watch("both", &[&ann, &ben, &cid]).await;
    service.watch("one", &[&ben, &dan]).await;
    service.watch("none", &[&dan]).await;

    let merge = format!("/v1/faces/subjects/{ann}/merge");
    assert_eq!(service.json("a", Method::POST, &merge, json!({"from": ben})).await.0, StatusCode::OK);
    assert_eq!(service.watched("both").await, json!([ann, cid]));
    assert_eq!(service.watched("one").await, json!([ann, dan]));
    assert_eq!(service.watched("none").await, json!([dan]));

    for deleted in [&cid, &ann] {
        assert_eq!(service.status(Method::DELETE, &format!("/v1/faces/subjects/{deleted}")).await, StatusCode::OK);
    }
    assert_eq!(service.watched("both").await, json!([]));
    assert_eq!(service.watched("one").await, json!([dan]));
}

/// As if the process had ended between both databases.
#[tokio::test]
async fn a_repeated_merge_or_deletion_changes_the_rest_of_the_watchlists() {
    let service = TestService::start(None).await;
    let (ann, ben) = (service.subject("a", "Ann").await, service.subject("a", "Ben").await);
    let merge = format!("/v1/faces/subjects/{ann}/merge");
    assert_eq!(service.json("a", Method::POST, &merge, json!({"from": ben})).await.0, StatusCode::OK);
    let (tenant, name) = ("a".parse().unwrap(), "staff".parse().unwrap());
    let former: SubjectId = ben.parse().unwrap();
    service.documents.put_watchlist(&tenant, &name, &[former].into(), 9).await.unwrap();
    assert_eq!(service.json("a", Method::POST, &merge, json!({"from": ben})).await.0, StatusCode::OK);
    assert_eq!(service.watched("staff").await, json!([ann]));

    let path = format!("/v1/faces/subjects/{ann}");
    assert_eq!(service.status(Method::DELETE, &path).await, StatusCode::OK);
    service.documents.put_watchlist(&tenant, &name, &[ann.parse().unwrap()].into(), 9).await.unwrap();
    // Nothing else is left of it.
    assert_eq!(service.status(Method::DELETE, &path).await, StatusCode::NOT_FOUND);
    assert_eq!(service.watched("staff").await, json!([]));
}

#[tokio::test]
async fn bad_watchlists_are_refused_by_name() {
    let service = TestService::start(None).await;
    let ann = service.subject("a", "Ann").await;
    let unknown = SubjectId::now().to_string();
    let list = format!("{LISTS}/staff");
    let many: Vec<String> = (0..1_001).map(|_| SubjectId::now().to_string()).collect();
    for (path, body, (status, code)) in [
        (list.as_str(), json!({"subjects": [unknown]}), (404, "not_found")),
        (&list, json!({"subjects": [ann, unknown]}), (404, "not_found")),
        (&list, json!({"subjects": many}), (422, "invalid")),
        (&list, json!({"subjects": ["Ann"]}), (422, "invalid")),
        (&list, json!({}), (422, "invalid")),
        ("/v1/faces/watchlists/a%20b", json!({"subjects": []}), (422, "invalid")),
        ("/v1/faces/watchlists/%ff", json!({"subjects": []}), (400, "malformed")),
    ] {
        let refused = service.json_refused("a", Method::PUT, path, &body.to_string()).await;
        assert_eq!(refused, (status, code.to_owned()), "{path}");
    }
    assert_eq!(service.get("a", LISTS).await.1["items"], json!([]));
    for number in 0..20 {
        service.watch(&format!("list-{number}"), &[]).await;
    }
    let empty = json!({"subjects": []}).to_string();
    assert_eq!(service.json_refused("a", Method::PUT, &list, &empty).await, (409, "conflict".to_owned()));
    service.watch("list-7", &[&ann]).await;
    let member = format!("{LISTS}/list-7/subjects");
    for (token, method, path, (status, code)) in [
        ("a", Method::PUT, format!("{member}/{unknown}"), (404, "not_found")),
        ("a", Method::PUT, format!("{member}/1"), (422, "invalid")),
        ("a:faces:read", Method::PUT, format!("{member}/{ann}"), (403, "forbidden")),
        ("a:faces:read", Method::DELETE, format!("{member}/{ann}"), (403, "forbidden")),
        ("a:faces:read", Method::DELETE, format!("{LISTS}/list-7"), (403, "forbidden")),
        ("a:faces:write", Method::GET, LISTS.to_owned(), (403, "forbidden")),
    ] {
        let refused = service.refused(token, method.clone(), &path, Vec::new()).await;
        assert_eq!(refused, (status, code.to_owned()), "{method} {path}");
    }
    assert_eq!(service.watched("list-7").await, json!([ann]));
}
