//! Subjects, without a model.

use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::test_service::TestService;

/// The first bytes of a PNG image.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A form with so many images in fields with this name.
fn png_form(field: &'static str, images: usize) -> Form {
    (0..images).fold(Form::new(), |form, _| form.part(field, Part::bytes(PNG).file_name("a.png")))
}

#[tokio::test]
async fn subjects_are_created_read_changed_and_deleted() {
    let service = TestService::start(None).await;
    let new = json!({"name": "Ann", "external_id": "7", "metadata": {"team": "red"}});
    let (status, made) = service.json("a", Method::POST, "/v1/faces/subjects", new).await;
    assert_eq!((status, &made["name"], &made["metadata"]["team"]), (StatusCode::CREATED, &json!("Ann"), &json!("red")));
    let path = format!("/v1/faces/subjects/{}", made["id"].as_str().unwrap());
    assert_eq!(service.get("a", &path).await, (StatusCode::OK, made));

    let (_, changed) = service.json("a", Method::PATCH, &path, json!({"name": "Anna", "external_id": null})).await;
    assert_eq!((&changed["name"], changed.get("external_id")), (&json!("Anna"), None));
    assert_eq!(changed["metadata"], json!({"team": "red"}), "it was not named");
    let (_, changed) = service.json("a", Method::PATCH, &path, json!({"metadata": null})).await;
    assert_eq!(changed.get("metadata"), None);

    let (status, receipt) = service.send("a", Method::DELETE, &path, Vec::new()).await;
    assert_eq!((status, &receipt["enrolled"], &receipt["models"]), (StatusCode::OK, &json!(0), &json!([])));
    assert_eq!(service.refused("a", Method::GET, &path, Vec::new()).await, (404, "not_found".to_owned()));
    assert_eq!(service.refused("a", Method::DELETE, &path, Vec::new()).await, (404, "not_found".to_owned()));
}

#[tokio::test]
async fn without_the_scope_to_read_responses_have_ids_and_times_alone() {
    let service = TestService::start(None).await;
    let given = json!({"given_at": "2020-01-02T00:00:00Z", "reference": "form 7"});
    let new = json!({"name": "Ann", "external_id": "7", "metadata": {"team": "red"}, "consent": given});
    let (_, ann) = service.json("a", Method::POST, "/v1/faces/subjects", new).await;
    let path = format!("/v1/faces/subjects/{}", ann["id"].as_str().unwrap());
    let (writer, other) = ("a:faces:write", service.subject("a", "Ben").await);
    for (method, path, body) in [
        (Method::PATCH, path.clone(), json!({})),
        (Method::PATCH, path.clone(), json!({"name": "Anna"})),
        (Method::POST, format!("{path}/merge"), json!({"from": other})),
        (Method::POST, "/v1/faces/subjects".to_owned(), json!({"name": "Cid"})),
    ] {
        let (status, view) = service.json(writer, method.clone(), &path, body).await;
        assert!(status.is_success(), "{method} {path}: {view}");
        let fields: Vec<&str> = view.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["created_at", "id", "updated_at"], "{method} {path}: {view}");
    }
    let (_, read) = service.get("a", &path).await;
    assert_eq!((&read["name"], &read["external_id"], &read["faces"]), (&json!("Anna"), &json!("7"), &json!(0)));
    for path in [&path, &format!("{path}/images")] {
        assert_eq!(service.refused(writer, Method::GET, path, Vec::new()).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn the_list_has_every_subject_once() {
    let service = TestService::start(None).await;
    for number in 0..7 {
        service.subject("a", &number.to_string()).await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = service.get("a", &format!("/v1/faces/subjects?limit=3{cursor}")).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names, ["6", "5", "4", "3", "2", "1", "0"]);
    let (status, all) = service.get("a", "/v1/faces/subjects?limit=1000").await;
    assert_eq!((status, all["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(7)));
    for limit in ["0", "1001", "x"] {
        let (_, refused) = service.get("a", &format!("/v1/faces/subjects?limit={limit}")).await;
        assert_eq!(refused["detail"], "limit must be a whole number from 1 to 1000", "{limit}");
    }
}

#[tokio::test]
async fn another_tenant_finds_and_changes_nothing() {
    let service = TestService::start(None).await;
    let (_, ann) =
        service.json("a", Method::POST, "/v1/faces/subjects", json!({"name": "Ann", "external_id": "7"})).await;
    let id = ann["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/faces/subjects/{id}");
    let not_found = (404, "not_found".to_owned());
    let other = service.subject("b", "Bea").await;
    let into = format!("/v1/faces/subjects/{other}/merge");
    for (method, path, body) in [
        (Method::PATCH, &path, r#"{"name": "Eve"}"#.to_owned()),
        (Method::POST, &into, json!({"from": id}).to_string()),
        (Method::POST, &format!("{path}/merge"), json!({"from": other}).to_string()),
    ] {
        assert_eq!(service.json_refused("b", method.clone(), path, &body).await, not_found, "{method} {path}");
    }
    let face = service.put_face("a", &id, 1).await;
    let list = "/v1/faces/watchlists/staff".to_owned();
    let members = json!({"subjects": [id]});
    assert_eq!(service.json("a", Method::PUT, &list, members.clone()).await.0, StatusCode::OK);
    let refused = service.json_refused("b", Method::PUT, &list, &members.to_string()).await;
    assert_eq!(refused, not_found, "a list with another tenant's subject");
    for (method, path) in [
        (Method::GET, list.clone()),
        (Method::DELETE, list.clone()),
        (Method::PUT, format!("{list}/subjects/{other}")),
        (Method::DELETE, format!("{list}/subjects/{id}")),
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/images")),
        (Method::GET, format!("{path}/images")),
        (Method::DELETE, format!("{path}/images/{face}")),
        (Method::POST, format!("/v1/faces/verify?subject={id}")),
    ] {
        let refused = service.refused("b", method.clone(), &path, PNG.to_vec()).await;
        assert_eq!(refused, not_found, "{method} {path}");
    }
    let (status, refused) = service.form("b", &format!("{path}/images"), png_form("image", 2)).await;
    assert_eq!((status.as_u16(), &refused["code"]), (404, &json!("not_found")), "images in a form");
    let (_, document) = service.get("b", "/openapi.json").await;
    let paths = document["paths"].as_object().unwrap().keys().filter(|path| path.contains('{'));
    let walked = ["", "/images", "/images/{image}", "/merge"].map(|rest| format!("/v1/faces/subjects/{{id}}{rest}"));
    // reject.rs has the one with a detection.
    let walked = std::iter::once("/v1/detections/{id}/reject").chain(walked.iter().map(String::as_str));
    let walked = walked.chain(["/v1/faces/watchlists/{name}", "/v1/faces/watchlists/{name}/subjects/{id}"]);
    assert_eq!(paths.collect::<Vec<_>>(), walked.collect::<Vec<_>>(), "a new path with an id: walk it above");
    let by_external_id = service.get("b", "/v1/faces/subjects?external_id=7").await.1;
    assert_eq!(by_external_id["items"], json!([]), "it is that of another tenant's subject");
    assert_eq!(service.get("b", "/v1/faces/subjects").await.1["items"].as_array().unwrap().len(), 1, "its own");
    assert_eq!(service.get("b", "/v1/faces/watchlists").await.1["items"], json!([]));
    // The same name is another list.
    assert_eq!(service.json("b", Method::PUT, &list, json!({"subjects": [other]})).await.0, StatusCode::OK);
    assert_eq!(service.refused("b", Method::PUT, &format!("{list}/subjects/{id}"), Vec::new()).await, not_found);
    assert_eq!(service.get("a", &list).await.1["subjects"], json!([id]));
    assert_eq!(service.get("a", &path).await.1["name"], "Ann");
    assert_eq!(service.get("a", &format!("{path}/images")).await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_document_is_also_below_the_path_of_faces() {
    let service = TestService::start(None).await;
    let (status, below) = service.get("a", "/v1/faces/openapi.json").await;
    let (_, document) = service.get("a", "/openapi.json").await;
    assert_eq!(status, 200);
    assert_eq!(below["paths"], document["paths"]);
    assert!(below["paths"]["/v1/faces/search"]["post"].is_object(), "{below}");
    for (path, codes) in [
        ("/v1/faces/verify", ["no_face", "several_faces", "face_not_upright", "face_not_comparable", "empty_body"]),
        ("/v1/faces/search", ["no_face", "several_faces", "face_not_upright", "face_not_comparable", "empty_body"]),
        (
            "/v1/faces/subjects/{id}/images",
            ["no_face", "several_faces", "face_not_upright", "face_blurred", "empty_body"],
        ),
    ] {
        let responses = &document["paths"][path]["post"]["responses"];
        let described = |status: &str| responses[status]["description"].as_str().unwrap_or_default();
        let missing: Vec<_> = codes.iter().filter(|code| !described("422").contains(&format!("`{code}`"))).collect();
        assert!(missing.is_empty(), "{path}: {missing:?}");
        assert!(described("503").contains("`no_face_model`"), "{path}: {}", described("503"));
    }
    assert_eq!(below["components"], document["components"], "a client can be generated from it");
}

#[tokio::test]
async fn a_server_that_only_verifies_refuses_searches() {
    let service = TestService::start_with(None, &["--faces-search", "off"]).await;
    let refused = service.refused("a", Method::POST, "/v1/faces/search", PNG.to_vec()).await;
    assert_eq!(refused, (403, "search_off".to_owned()));
    let id = service.subject("a", "Ann").await;
    let verify = format!("/v1/faces/verify?subject={id}");
    // There is no model here: it is looked for only after the right to compare.
    assert_eq!(service.refused("a", Method::POST, &verify, PNG.to_vec()).await, (503, "no_face_model".to_owned()));
}

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
    let longest = json!({"consent": {"given_at": given, "reference": "\u{e9}".repeat(200)}});
    assert_eq!(service.json("a", Method::POST, "/v1/faces/subjects", longest).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let service = TestService::start(None).await;
    let subjects = "/v1/faces/subjects";
    let id = service.subject("a", "Ann").await;
    let images = format!("{subjects}/{id}/images");
    let long = json!({"name": "n".repeat(513)}).to_string();
    for (body, refusal) in [
        (r#"{"name": "a\u0000b"}"#, (422, "invalid")),
        (r#"{"external_id": " "}"#, (422, "invalid")),
        ("{", (400, "malformed")),
        ("[]", (422, "invalid")),
        (r#"{"nam": "Ann"}"#, (422, "invalid")),
        (&long, (422, "invalid")),
    ] {
        let refused = service.json_refused("a", Method::POST, subjects, body).await;
        assert_eq!(refused, (refusal.0, refusal.1.to_owned()), "{body}");
    }
    assert_eq!(service.json_refused("a:faces:read", Method::POST, subjects, "{}").await, (403, "forbidden".to_owned()));
    let nothing = json!({"name": null, "external_id": null, "metadata": null, "consent": null});
    assert_eq!(service.json("a", Method::POST, subjects, nothing).await.0, StatusCode::CREATED, "null is as no field");
    let itself = json!({"from": id}).to_string();
    let merge = format!("{subjects}/{id}/merge");
    assert_eq!(service.json_refused("a", Method::POST, &merge, &itself).await, (422, "invalid".to_owned()));
    for (token, method, path, body, (status, code)) in [
        ("a", Method::POST, subjects, "{}", (415, "unsupported_media_type")),
        ("a", Method::GET, "/v1/faces/subjects?limit=0", "", (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects?limit=1001", "", (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects?cursor=x", "", (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects?external_id=a%00", "", (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects/1", "", (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects/%ff", "", (400, "malformed")),
        ("a", Method::GET, "/v1/faces", "", (404, "unknown_path")),
        ("a", Method::PUT, subjects, "", (405, "method_not_allowed")),
        ("a:faces:write", Method::GET, subjects, "", (403, "forbidden")),
        ("a", Method::POST, &images, "", (422, "empty_body")),
        ("a", Method::POST, "/v1/faces/search", "", (422, "empty_body")),
        ("a", Method::POST, "/v1/users/me/photo", "", (422, "empty_body")),
        ("a", Method::POST, &images, "text", (415, "unsupported_media_type")),
        ("a", Method::POST, "/v1/faces/search", "text", (415, "unsupported_media_type")),
    ] {
        let refused = service.refused(token, method.clone(), path, body.as_bytes().to_vec()).await;
        assert_eq!(refused, (status, code.to_owned()), "{method} {path} {body}");
    }
    for path in [&images, "/v1/faces/search"] {
        let refused = service.refused("a", Method::POST, path, PNG.to_vec()).await;
        assert_eq!(refused, (503, "no_face_model".to_owned()), "{path}");
    }
    for (field, number, refusal) in
        [("image", 10, (503, "no_face_model")), ("image", 11, (422, "invalid")), ("file", 1, (422, "invalid"))]
    {
        let (status, refused) = service.form("a", &images, png_form(field, number)).await;
        assert_eq!((status.as_u16(), &refused["code"]), (refusal.0, &json!(refusal.1)), "{number} × {field}");
    }
    let taken = json!({"external_id": "7"});
    service.json("a", Method::POST, subjects, taken.clone()).await;
    let refused = service.json_refused("a", Method::POST, subjects, &taken.to_string()).await;
    assert_eq!(refused, (409, "external_id_taken".to_owned()));
    assert_eq!(service.json("b", Method::POST, subjects, taken).await.0, StatusCode::CREATED, "of another tenant");
}

#[tokio::test]
async fn a_tenant_with_the_most_subjects_creates_no_further_one() {
    let service = TestService::start_with(None, &["--faces-subjects", "2"]).await;
    let subjects = "/v1/faces/subjects";
    let known = json!({"external_id": "7"});
    let (_, first) = service.json("a", Method::POST, subjects, known.clone()).await;
    service.subject("a", "Ben").await;

    let (status, refused) = service.json("a", Method::POST, subjects, json!({"external_id": "8"})).await;

    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("too_many_subjects")));
    let detail = refused["detail"].as_str().unwrap();
    assert!(["2 subjects", "delete", "SIGHTLINE_FACES_SUBJECTS"].iter().all(|part| detail.contains(part)), "{detail}");
    let repeated = service.json_refused("a", Method::POST, subjects, &known.to_string()).await;
    assert_eq!(repeated, (409, "external_id_taken".to_owned()), "a repeated enrolment continues with this subject");
    service.subject("b", "Bea").await;
    service.send("a", Method::DELETE, &format!("{subjects}/{}", first["id"].as_str().unwrap()), Vec::new()).await;
    service.subject("a", "Cid").await;
}
