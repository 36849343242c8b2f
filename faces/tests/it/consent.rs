//! Consent, without a model.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::subjects::PNG;
use crate::test_service::{TestService, config};

#[tokio::test]
async fn without_consent_nobody_is_enrolled_or_verified_where_it_is_required() {
    let service = TestService::start_with(None, &["--faces-consent", "required"]).await;
    let given = json!({"given_at": "2020-01-02T00:00:00Z", "reference": "form 7"});
    let (_, ben) = service.json("a", Method::POST, "/v1/faces/subjects", json!({"consent": given})).await;
    assert_eq!(ben["consent"], given);
    let ann = service.subject("a", "Ann").await;
    let refusal = async |subject: &str| {
        let enrol = format!("/v1/faces/subjects/{subject}/images");
        let enrol = service.refused("a", Method::POST, &enrol, PNG.to_vec()).await;
        let verify = format!("/v1/faces/verify?subject={subject}");
        assert_eq!(service.refused("a", Method::POST, &verify, PNG.to_vec()).await, enrol);
        enrol
    };
    let missing = (403, "consent_missing".to_owned());
    // There is no model here: it is looked for only after the consent.
    let compared = (503, "no_face_model".to_owned());
    assert_eq!(refusal(&ann).await, missing);
    assert_eq!(refusal(ben["id"].as_str().unwrap()).await, compared);
    let path = format!("/v1/faces/subjects/{ann}");
    let change = async |consent: Value| service.json("a", Method::PATCH, &path, json!({"consent": consent})).await;
    assert_eq!(change(given.clone()).await.1["consent"], given);
    assert_eq!(refusal(&ann).await, compared);
    service.json("a", Method::PATCH, &path, json!({"name": "Anna"})).await;
    assert_eq!(refusal(&ann).await, compared, "another change leaves it");
    let (status, withdrawn) = change(json!(null)).await;
    assert_eq!((status, &withdrawn["consent"]["given_at"]), (StatusCode::OK, &given["given_at"]));
    assert!(withdrawn["consent"]["until"].is_string(), "it ended: {withdrawn}");
    assert_eq!(refusal(&ann).await, missing);
}

#[tokio::test]
async fn the_start_names_who_is_enrolled_without_consent() {
    let service = TestService::start(None).await;
    let start = async |rule| faces::check_consents(&config(&["--faces-consent", rule]), &service.database).await;
    let ann = service.subject("a", "Ann").await;
    start("required").await.unwrap();
    service.put_face("a", &ann, 1).await;
    let mut of_b = Vec::new();
    for number in 2..=21 {
        of_b.push(service.subject("b", "Bea").await);
        service.put_face("b", &of_b[of_b.len() - 1], number).await;
    }
    start("optional").await.unwrap();

    let refusal = start("required").await.unwrap_err().to_string();

    assert!(
        refusal.contains("consent: 21, of 2 tenants: tenant a: ") && refusal.contains(", and others; "),
        "{refusal}"
    );
    assert!(refusal.contains(&format!("tenant a: {ann}; tenant b: {}, ", of_b[0])), "{refusal}");
    assert!(refusal.contains(&of_b[18]) && !refusal.contains(&of_b[19]), "20 of them: {refusal}");
    assert!(!refusal.contains("Ann"), "{refusal}");
}

#[tokio::test]
async fn a_merge_that_would_change_a_consent_is_refused() {
    let service = TestService::start(None).await;
    let subjects = "/v1/faces/subjects";
    let (ann, other) = (service.subject("a", "Ann").await, service.subject("a", "Ann again").await);
    let until = |until: &str| json!({"consent": {"given_at": "2020-01-02T00:00:00Z", "until": until}});
    let (sooner, later) = (until("2990-01-01T00:00:00Z"), until("2995-01-01T00:00:00Z"));
    let merge = format!("{subjects}/{ann}/merge");
    let from = json!({"from": other});
    let record = async |id: &str, consent: &Value| {
        let path = format!("{subjects}/{id}");
        assert_eq!(service.json("a", Method::PATCH, &path, consent.clone()).await.0, StatusCode::OK);
    };
    let differs = (409, "consent_differs".to_owned());
    record(&other, &sooner).await;
    assert_eq!(service.json_refused("a", Method::POST, &merge, &from.to_string()).await, differs, "it has none");
    record(&ann, &later).await;
    let (_, refused) = service.json("a", Method::POST, &merge, from.clone()).await;
    let detail = refused["detail"].as_str().unwrap();
    assert!(refused["code"] == differs.1.as_str() && detail.contains(&ann) && detail.contains(&other), "{refused}");
    record(&ann, &sooner).await;
    let (status, merged) = service.json("a", Method::POST, &merge, from).await;
    assert_eq!((status, &merged["consent"]), (StatusCode::OK, &sooner["consent"]), "it is as it was recorded");
}

#[tokio::test]
async fn a_withdrawal_counts_where_no_consent_was_recorded() {
    let service = TestService::start(None).await;
    let ann = service.subject("a", "Ann").await;
    let (path, images) = (format!("/v1/faces/subjects/{ann}"), format!("/v1/faces/subjects/{ann}/images"));
    // There is no model here: it is looked for only after the consent.
    let compared = (503, "no_face_model".to_owned());
    assert_eq!(service.refused("a", Method::POST, &images, PNG.to_vec()).await, compared);
    let id = service.put_face("a", &ann, 1).await;

    let (status, withdrawn) = service.json("a", Method::PATCH, &path, json!({"consent": null})).await;

    assert_eq!(status, StatusCode::OK, "{withdrawn}");
    let consent = &withdrawn["consent"];
    assert!(consent["until"].is_string() && consent["until"] == consent["given_at"], "it held at no time: {withdrawn}");
    let missing = (403, "consent_missing".to_owned());
    assert_eq!(service.refused("a", Method::POST, &images, PNG.to_vec()).await, missing, "also where none is required");
    let face = service.refused("a", Method::DELETE, &format!("{images}/{id}"), Vec::new()).await;
    assert_eq!(face, (404, "not_found".to_owned()), "its face is erased");
}

#[tokio::test]
async fn a_consent_that_cannot_hold_is_refused() {
    let service = TestService::start(None).await;
    let given = "2020-01-02T00:00:00Z";
    for consent in [
        json!({}),
        json!({"given_at": "yesterday"}),
        json!({"given_at": "2999-01-01T00:00:00Z"}),
        json!({"given_at": "-000001-01-01T00:00:00Z"}),
        json!({"given_at": given, "until": given}),
        json!({"given_at": given, "until": "9999-12-31T00:00:00Z"}),
        json!({"given_at": given, "reference": "r".repeat(201)}),
        json!({"given_at": given, "reference": "a\u{0}b"}),
        json!({"given_at": given, "by": "Ann"}),
    ] {
        let body = json!({"consent": consent}).to_string();
        let refused = service.json_refused("a", Method::POST, "/v1/faces/subjects", &body).await;
        assert_eq!(refused, (422, "invalid".to_owned()), "{body}");
    }
    // One that no timestamp of the program can have, and a day without a time.
    for (field, text) in
        [("until", "9999-12-31T23:59:59Z"), ("given_at", "2020-11-30"), ("until", "9999-01-01T00:00:01Z")]
    {
        let mut consent = json!({"given_at": given});
        consent[field] = json!(text);
        let (_, refused) = service.json("a", Method::POST, "/v1/faces/subjects", json!({"consent": consent})).await;
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(&format!("consent.{field}")) && detail.contains("before the year 9999"),
            "{text}: {detail}"
        );
    }
    let longest = json!({"consent": {"given_at": given, "reference": "\u{e9}".repeat(200)}});
    assert_eq!(service.json("a", Method::POST, "/v1/faces/subjects", longest).await.0, StatusCode::CREATED);
}
