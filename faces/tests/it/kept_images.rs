//! Images with which faces were enrolled. Need `SIGHTLINE_SAMPLES_DIR` and models in `SIGHTLINE_MODELS_DIR`.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::test_service::TestService;

const KEEP: &[&str] = &["--faces-keep-images", "on"];

#[tokio::test]
async fn without_the_setting_no_image_is_stored() {
    let Some((service, faces)) = TestService::with_models("without_the_setting_no_image").await else { return };
    let ann = service.subject("a", "Ann").await;
    service.enrol("a", &ann, &faces.join("obama_a.jpg")).await;
    let image = std::fs::read(faces.join("obama_b.jpg")).unwrap();
    for path in ["/v1/faces/search".to_owned(), format!("/v1/faces/verify?subject={ann}")] {
        assert_eq!(service.send("a", Method::POST, &path, image.clone()).await.0, StatusCode::OK);
    }
    assert_eq!(service.image_count(), 0);
}

#[tokio::test]
async fn kept_images_are_those_of_enrolled_faces_alone() {
    let name = "kept_images_are_those_of_enrolled_faces_alone";
    let Some((service, faces)) = TestService::with_models_and(name, KEEP).await else { return };
    let ann = service.subject("a", "Ann").await;
    let path = format!("/v1/faces/subjects/{ann}/images");
    let image = |name: &str| std::fs::read(faces.join(name)).unwrap();
    for (body, code) in
        [(image("solvay_1927_29faces.jpg"), "several_faces"), (image("../vehicles/highway_1.jpg"), "no_face")]
    {
        assert_eq!(service.refused("a", Method::POST, &path, body).await, (422, code.to_owned()));
    }
    assert_eq!(service.image_count(), 0, "an image without an enrolled face is not kept");
    for _ in 0..2 {
        let (status, enrolled) = service.send("a", Method::POST, &path, image("obama_a.jpg")).await;
        assert!(status.is_success(), "{enrolled}");
        assert_eq!(service.image_count(), 1, "the same image is kept once");
    }
    let (_, found) = service.send("a", Method::POST, "/v1/faces/search", image("obama_b.jpg")).await;
    assert_eq!((found["matches"].as_array().unwrap().len(), service.image_count()), (1, 1), "{found}");
}

#[tokio::test]
async fn a_subjects_images_are_deleted_with_it_also_those_of_merged_ones() {
    let name = "a_subjects_images_are_deleted_with_it";
    let Some((service, faces)) = TestService::with_models_and(name, KEEP).await else { return };
    let (first, second) = (service.subject("a", "Obama").await, service.subject("a", "Barack").await);
    let other = service.subject("a", "Biden").await;
    for (subject, image) in [(&first, "obama_a.jpg"), (&second, "obama_b.jpg"), (&other, "biden_a.jpg")] {
        service.enrol("a", subject, &faces.join(image)).await;
    }
    let merge = format!("/v1/faces/subjects/{first}/merge");
    assert_eq!(service.json("a", Method::POST, &merge, json!({"from": second})).await.0, StatusCode::OK);
    assert_eq!(service.image_count(), 3, "a merge keeps the images");

    let (status, receipt) = service.send("a", Method::DELETE, &format!("/v1/faces/subjects/{first}"), Vec::new()).await;

    assert_eq!(status, StatusCode::OK, "{receipt}");
    assert_eq!((&receipt["enrolled"], &receipt["enrolment_images"]), (&json!(2), &json!(2)), "{receipt}");
    assert_eq!(service.image_count(), 1, "that of the other subject stays");
}

#[tokio::test]
async fn a_wrong_photograph_is_deleted_and_finds_nobody_any_more() {
    let name = "a_wrong_photograph_is_deleted";
    let Some((service, faces)) = TestService::with_models_and(name, KEEP).await else { return };
    let obama = service.subject("a", "Obama").await;
    let path = format!("/v1/faces/subjects/{obama}/images");
    let image = |name: &str| std::fs::read(faces.join(name)).unwrap();
    service.enrol("a", &obama, &faces.join("obama_a.jpg")).await;
    let (_, wrong) = service.send("a", Method::POST, &path, image("biden_a.jpg")).await;
    let matches = async |name: &str| {
        let (_, found) = service.send("a", Method::POST, "/v1/faces/search", image(name)).await;
        found["matches"].as_array().unwrap().len()
    };
    assert_eq!((matches("biden_b.jpg").await, matches("obama_b.jpg").await, service.image_count()), (1, 1, 2));
    let (_, listed) = service.get("a", &path).await;
    let kept = listed["items"].as_array().unwrap().iter().filter(|face| face["image_kept"] == true).count();
    assert_eq!(kept, 2, "{listed}");

    let delete = format!("{path}/{}", wrong["id"].as_str().unwrap());
    assert_eq!(service.send("a", Method::DELETE, &delete, Vec::new()).await.0, StatusCode::NO_CONTENT);

    assert_eq!((matches("biden_b.jpg").await, matches("obama_b.jpg").await, service.image_count()), (0, 1, 1));
}

/// As after a crash between the vectors and the images.
#[tokio::test]
async fn deleting_again_deletes_the_images_that_are_left() {
    let name = "deleting_again_deletes_the_images_that_are_left";
    let Some((service, faces)) = TestService::with_models_and(name, KEEP).await else { return };
    let ann = service.subject("a", "Ann").await;
    service.enrol("a", &ann, &faces.join("obama_a.jpg")).await;
    let (tenant, id) = ("a".parse().unwrap(), ann.parse().unwrap());
    service.database.delete_subject(&tenant, id, jiff::Timestamp::now()).await.unwrap().unwrap();
    assert_eq!(service.image_count(), 1);
    let (status, receipt) = service.send("a", Method::DELETE, &format!("/v1/faces/subjects/{ann}"), Vec::new()).await;
    assert_eq!((status, &receipt["enrolment_images"]), (StatusCode::OK, &json!(1)), "{receipt}");
    assert_eq!(service.image_count(), 0);
}
