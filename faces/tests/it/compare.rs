//! Photographs of known people. Need `SIGHTLINE_SAMPLES_DIR` and models in `SIGHTLINE_MODELS_DIR`.

use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::test_service::TestService;

#[tokio::test]
async fn a_person_is_verified_and_found_on_another_photograph() {
    let Some((service, faces)) = TestService::with_models("a_person_is_verified").await else { return };
    let image = |name: &str| std::fs::read(faces.join(name)).unwrap();
    let (obama, biden) = (service.subject("a", "Obama").await, service.subject("a", "Biden").await);
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    service.enrol("a", &biden, &faces.join("biden_a.jpg")).await;
    let nobody = service.subject("a", "Nobody").await;
    let path = format!("/v1/faces/verify?subject={nobody}");
    let (_, verdict) = service.send("a", Method::POST, &path, image("obama_b.jpg")).await;
    assert_eq!((&verdict["same"], &verdict["reason"]), (&false.into(), &"no_faces".into()), "{verdict}");
    for (photograph, subject, same) in
        [("obama_b.jpg", &obama, true), ("obama_b.jpg", &biden, false), ("biden_b.jpg", &biden, true)]
    {
        let path = format!("/v1/faces/verify?subject={subject}&false_match_rate=0.0001");
        let (status, verdict) = service.send("a", Method::POST, &path, image(photograph)).await;
        assert_eq!(status, StatusCode::OK, "{verdict}");
        assert_eq!(verdict["same"], same, "{photograph}: {verdict}");
        assert_eq!(verdict["reason"].as_str(), (!same).then_some("below_threshold"), "{photograph}: {verdict}");
    }
    let (_, found) = service.send("a", Method::POST, "/v1/faces/search", image("obama_c.jpg")).await;
    let matches = found["matches"].as_array().unwrap();
    assert_eq!((matches.len(), &found["subjects"]), (1, &2.into()), "{found}");
    assert_eq!((&matches[0]["subject"], &matches[0]["name"]), (&obama.as_str().into(), &"Obama".into()));

    let (_, others) = service.send("b", Method::POST, "/v1/faces/search", image("obama_c.jpg")).await;
    assert_eq!((&others["matches"], &others["subjects"]), (&serde_json::json!([]), &0.into()));
}

#[tokio::test]
async fn two_images_are_compared_without_a_subject() {
    let Some((service, faces)) = TestService::with_models("two_images_are_compared").await else { return };
    let part = |name: &str| Part::bytes(std::fs::read(faces.join(name)).unwrap()).file_name("face.jpg");
    let form = |one, other| Form::new().part("image", part(one)).part("other", part(other));
    for (one, other, same) in [("obama_a.jpg", "obama_b.jpg", true), ("obama_a.jpg", "biden_a.jpg", false)] {
        let (status, verdict) = service.form("a", "/v1/faces/verify", form(one, other)).await;
        assert_eq!((status, &verdict["same"]), (StatusCode::OK, &same.into()), "{one} {other}: {verdict}");
    }
    let one_image = || Form::new().part("image", part("obama_a.jpg"));
    let obama = service.subject("a", "Obama").await;
    service.enrol("a", &obama, &faces.join("obama_b.jpg")).await;
    let with_subject = format!("/v1/faces/verify?subject={obama}");
    let (status, verdict) = service.form("a", &with_subject, one_image()).await;
    assert_eq!((status, &verdict["same"]), (StatusCode::OK, &true.into()), "one image with a subject: {verdict}");
    let (status, refused) = service.form("a", &with_subject, form("obama_a.jpg", "obama_b.jpg")).await;
    assert_eq!((status.as_u16(), &refused["code"]), (422, &"invalid".into()), "two with a subject");
    let (status, refused) = service.form("a", "/v1/faces/verify", one_image()).await;
    assert_eq!((status.as_u16(), &refused["code"]), (422, &"invalid".into()));
    let path = "/v1/faces/verify";
    let refused = service.refused("a", Method::POST, path, std::fs::read(faces.join("obama_a.jpg")).unwrap()).await;
    assert_eq!(refused, (422, "invalid".to_owned()), "an image without a subject");
}

#[tokio::test]
async fn the_same_image_is_enrolled_once_and_a_merge_moves_it() {
    let Some((service, faces)) = TestService::with_models("the_same_image_is_enrolled_once").await else { return };
    let image = std::fs::read(faces.join("obama_a.jpg")).unwrap();
    let (first, second) = (service.subject("a", "Obama").await, service.subject("a", "Barack").await);
    let enrol = async |subject: &str| {
        service.send("a", Method::POST, &format!("/v1/faces/subjects/{subject}/images"), image.clone()).await
    };
    let (status, enrolled) = enrol(&first).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(enrol(&first).await, (StatusCode::OK, enrolled));
    assert_eq!(enrol(&second).await.0, StatusCode::CREATED);
    let merge = format!("/v1/faces/subjects/{first}/merge");
    let (status, kept) = service.json("a", Method::POST, &merge, serde_json::json!({"from": second})).await;
    assert_eq!((status, &kept["name"]), (StatusCode::OK, &"Obama".into()));
    assert_eq!(kept["faces"], 1, "the image of both is there once");
    let other = std::fs::read(faces.join("obama_b.jpg")).unwrap();
    let third = service.subject("a", "B. Obama").await;
    let images = format!("/v1/faces/subjects/{first}/images");
    let path = format!("/v1/faces/subjects/{third}/images");
    let (_, moved) = service.send("a", Method::POST, &path, other.clone()).await;
    assert_eq!(service.json("a", Method::POST, &merge, serde_json::json!({"from": third})).await.1["faces"], 2);
    assert_eq!(
        service.send("a", Method::POST, &images, other.clone()).await,
        (StatusCode::OK, moved.clone()),
        "a repeat"
    );
    for id in [&moved["id"], &enrol(&first).await.1["id"]] {
        let path = format!("{images}/{}", id.as_str().unwrap());
        assert_eq!(service.send("a", Method::DELETE, &path, Vec::new()).await.0, StatusCode::NO_CONTENT);
    }
    let verify = format!("/v1/faces/verify?subject={first}");
    let (_, verdict) = service.send("a", Method::POST, &verify, image.clone()).await;
    assert_eq!(verdict["reason"], "no_faces", "no deleted face leaves another one with its image: {verdict}");
    let (_, receipt) = service.send("a", Method::DELETE, &format!("/v1/faces/subjects/{first}"), Vec::new()).await;
    assert_eq!(receipt["enrolled"], 0);
}

#[tokio::test]
async fn each_image_of_a_form_gets_its_verdict() {
    let Some((service, faces)) = TestService::with_models("each_image_of_a_form").await else { return };
    let image = |name: &str| std::fs::read(faces.join(name)).unwrap();
    let subject = service.subject("a", "Obama").await;
    let path = format!("/v1/faces/subjects/{subject}/images");
    let files = [
        image("obama_a.jpg"),
        image("solvay_1927_29faces.jpg"),
        b"text".to_vec(),
        image("obama_b.jpg"),
        image("obama_a.jpg"),
    ];
    let verdicts = async || {
        let form = files.iter().fold(Form::new(), |form, file| form.part("image", Part::bytes(file.clone())));
        let (status, body) = service.form("a", &path, form).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["images"].as_array().unwrap().clone()
    };
    let statuses = |verdicts: &[Value]| verdicts.iter().map(|verdict| verdict["status"].as_u64()).collect::<Vec<_>>();

    let first = verdicts().await;

    assert_eq!(statuses(&first), [201_u64, 422, 415, 201, 200].map(Some), "{first:?}");
    let problems: Vec<_> = first.iter().map(|verdict| verdict["problem"]["code"].as_str()).collect();
    assert_eq!(problems, [None, Some("several_faces"), Some("unsupported_media_type"), None, None]);
    let faces: Vec<_> = first.iter().map(|verdict| &verdict["face"]["id"]).collect();
    assert!(faces[0] == faces[4] && faces[0] != faces[3] && faces[1].is_null(), "{first:?}");
    assert_eq!(
        service.send("a", Method::POST, &path, image("obama_b.jpg")).await,
        (StatusCode::OK, first[3]["face"].clone())
    );
    assert_eq!(statuses(&verdicts().await), [200_u64, 422, 415, 200, 200].map(Some));
    let (_, receipt) = service.send("a", Method::DELETE, &format!("/v1/faces/subjects/{subject}"), Vec::new()).await;
    assert_eq!(receipt["enrolled"], 2);
}

#[tokio::test]
async fn one_tenant_does_not_keep_another_from_searching() {
    let test = "one_tenant_does_not_keep_another";
    let Some((service, faces)) = TestService::with_models_and(test, &["--faces-requests", "2"]).await else { return };
    let image = std::fs::read(faces.join("obama_a.jpg")).unwrap();
    let search = async |tenant: &'static str| {
        let (status, body) = service.send(tenant, Method::POST, "/v1/faces/search", image.clone()).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    // Opens the models.
    assert_eq!(search("b").await.0, StatusCode::OK);
    let of_a = join_all((0..8).map(|_| search("a")));
    let of_b = async {
        for _ in 0..4 {
            assert_eq!(search("b").await, (StatusCode::OK, String::new()), "one place is free of the other tenant");
        }
    };
    let (of_a, ()) = tokio::join!(of_a, of_b);
    let refused: Vec<_> = of_a.iter().filter(|(status, _)| *status != StatusCode::OK).collect();
    assert!((1..8).contains(&refused.len()), "{of_a:?}");
    let share_in_use = (StatusCode::TOO_MANY_REQUESTS, "share_in_use".to_owned());
    assert!(refused.iter().all(|refusal| **refusal == share_in_use), "{of_a:?}");
}

#[tokio::test]
async fn a_deleted_person_is_not_found_any_more() {
    let Some((service, faces)) = TestService::with_models("a_deleted_person").await else { return };
    let image = |name: &str| std::fs::read(faces.join(name)).unwrap();
    let obama = service.subject("a", "Obama").await;
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    let found = async || service.send("a", Method::POST, "/v1/faces/search", image("obama_b.jpg")).await.1;
    assert_eq!(found().await["matches"].as_array().unwrap().len(), 1);
    let (_, receipt) = service.send("a", Method::DELETE, &format!("/v1/faces/subjects/{obama}"), Vec::new()).await;
    assert_eq!(receipt["enrolled"], 1);
    let after = found().await;
    assert_eq!((&after["matches"], &after["subjects"]), (&serde_json::json!([]), &0.into()));
}

/// A consent that ends so many seconds from now, or never.
fn consent(seconds: Option<i64>) -> Value {
    let until = seconds.map(|seconds| (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string());
    let given_at = Timestamp::now().to_string();
    serde_json::json!({"consent": match until {
        Some(until) => serde_json::json!({"given_at": given_at, "until": until}),
        None => serde_json::json!({"given_at": given_at}),
    }})
}

#[tokio::test]
async fn a_person_whose_consent_ends_is_not_found_any_more() {
    let Some((service, faces)) = TestService::with_models("a_person_whose_consent_ends").await else { return };
    let image = |name: &str| std::fs::read(faces.join(name)).unwrap();
    let obama = service.subject("a", "Obama").await;
    let path = format!("/v1/faces/subjects/{obama}");
    let change = async |consent| assert_eq!(service.json("a", Method::PATCH, &path, consent).await.0, StatusCode::OK);
    let found = async || {
        let (_, found) = service.send("a", Method::POST, "/v1/faces/search", image("obama_b.jpg")).await;
        (found["matches"].as_array().unwrap().len(), found["subjects"].as_u64().unwrap())
    };
    change(consent(None)).await;
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    assert_eq!(found().await, (1, 1));
    change(serde_json::json!({"consent": null})).await;
    assert_eq!(found().await, (0, 0), "at once after it is withdrawn");

    change(consent(None)).await;
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    let begun = Instant::now();
    assert_eq!(found().await, (1, 1));
    // Many times as long as a search takes here.
    let holds = 5 + 20 * begun.elapsed().as_secs();
    change(consent(Some(holds.try_into().unwrap()))).await;
    let ends = Instant::now() + Duration::from_secs(holds);
    assert_eq!(found().await, (1, 1), "it still holds");
    tokio::time::sleep_until(ends.into()).await;
    let limit = Duration::from_secs(2 + holds);
    let waited = tokio::time::timeout(limit, async { while found().await != (0, 0) {} });
    assert!(waited.await.is_ok(), "still found {limit:?} after the end");
    let enrol = format!("{path}/images");
    let refused = service.refused("a", Method::POST, &enrol, image("obama_a.jpg")).await;
    assert_eq!(refused, (403, "consent_missing".to_owned()), "also where consent is optional");
}

#[tokio::test]
async fn a_face_that_is_not_good_enough_is_not_enrolled() {
    let Some((service, faces)) = TestService::with_models("a_face_that_is_not_good_enough").await else { return };
    let subject = service.subject("a", "Ann").await;
    let path = format!("/v1/faces/subjects/{subject}/images");
    let image = std::fs::read(faces.join("obama_a.jpg")).unwrap();
    let (status, enrolled) = service.send("a", Method::POST, &path, image.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    let quality = |figure: &str| enrolled["quality"][figure].as_f64().unwrap();
    assert!(quality("size") >= 48.0 && quality("sharpness") >= 0.75 && quality("yaw").abs() < 30.0, "{enrolled}");
    let refused = service.refused("a", Method::POST, &path, brightened(&image)).await;
    assert_eq!(refused, (422, "face_too_bright".to_owned()));
    let search = service.send("a", Method::POST, "/v1/faces/search", brightened(&image)).await;
    assert_eq!(search.0, StatusCode::OK, "it can be compared: {}", search.1);
}

/// The image as a PNG with four times its light.
fn brightened(image: &[u8]) -> Vec<u8> {
    let pixels = vision::media::decode(image, &vision::media::DecodeLimits::default()).unwrap();
    let bright: Vec<u8> = pixels.rgb().iter().map(|level| level.saturating_mul(4)).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&bright).unwrap();
    bytes
}

#[tokio::test]
async fn images_without_exactly_one_face_are_refused_by_name() {
    let Some((service, faces)) = TestService::with_models("images_without_one_face").await else { return };
    let subject = service.subject("a", "Ann").await;
    let path = format!("/v1/faces/subjects/{subject}/images");
    let photograph = |name: &str| std::fs::read(faces.join(name)).unwrap();
    let cases = [
        (photograph("solvay_1927_29faces.jpg"), (422, "several_faces")),
        (photograph("../vehicles/highway_1.jpg"), (422, "no_face")),
        (photograph("obama_a.jpg")[..2_000].to_vec(), (422, "invalid_image")),
        (Vec::new(), (422, "empty_body")),
    ];
    for (body, (status, code)) in cases {
        assert_eq!(service.refused("a", Method::POST, &path, body).await, (status, code.to_owned()));
    }
    let path = format!("/v1/faces/verify?subject={subject}&false_match_rate=1e-9");
    let refused = service.refused("a", Method::POST, &path, photograph("obama_a.jpg")).await;
    assert_eq!(refused, (422, "invalid".to_owned()), "no model promises that");
}
