//! Faces in `sightline up`: the routes on its public port, and the end of a user's faces.

mod deleted_user;
mod erasure;
mod other_tenants;

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::delivery::TestClient;
use crate::processes::{TestServer, path_from_env};

const PASSWORD: &str = "lamp ostrich kettle";
/// A name that occurs nowhere else.
const NAME: &str = "Zaphod-Quernstone";

/// A user of the server.
pub struct TestUser {
    id: String,
    token: String,
    url: String,
}

impl TestUser {
    pub async fn add(up: &TestServer, name: &str) -> Self {
        let new = json!({"email": format!("{name}@example.org"), "username": name, "password": PASSWORD});
        let made = reqwest::Client::new().post(format!("{}/v1/users", up.url)).json(&new).send().await.unwrap();
        let id = made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
        let form = format!("grant_type=password&username={name}&password={}", PASSWORD.replace(' ', "+"));
        let request = reqwest::Client::new().post(format!("{}/v1/token", up.url)).body(form);
        let signed_in = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        let token = signed_in.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
        Self { id, token, url: up.url.clone() }
    }

    pub async fn json(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        answer(request.json(&body)).await
    }

    pub async fn image(&self, path: &str, image: &Path) -> (StatusCode, Value) {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        answer(request.body(std::fs::read(image).unwrap())).await
    }

    /// A request without a body.
    async fn send(&self, method: Method, path: &str) -> (StatusCode, Value) {
        answer(reqwest::Client::new().request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)).await
    }

    /// The id of a new subject.
    async fn subject(&self, name: &str) -> String {
        let (status, subject) = self.json(Method::POST, "/v1/faces/subjects", json!({"name": name})).await;
        assert_eq!(status, StatusCode::CREATED, "{subject}");
        subject["id"].as_str().unwrap().to_owned()
    }

    /// The path of a stored detection with these attributes.
    async fn detection(&self, attributes: &Value) -> String {
        let face = json!({"label": "face", "attributes": attributes});
        let (status, sent) = self.json(Method::POST, "/v1/detections", face).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{sent}");
        let path = format!("/v1/detections/{}", sent["id"].as_str().unwrap());
        testing::eventually("the detection", async || self.send(Method::GET, &path).await.0 == StatusCode::OK).await;
        path
    }

    /// A subject with one enrolled face.
    async fn enrol(&self, image: &Path) -> String {
        let id = self.subject(NAME).await;
        let (status, enrolled) = self.image(&format!("/v1/faces/subjects/{id}/images"), image).await;
        assert_eq!(status, StatusCode::CREATED, "{enrolled}");
        id
    }
}

/// The attributes of a recognised face.
fn recognised_as(subject: &str) -> Value {
    json!({"identity": "subject", "subject": subject, "similarity": 0.9})
}

/// The status and the body of the response. Tests that wait for something use up the rate limit, so a request over it is sent again.
async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    loop {
        let response = request.try_clone().unwrap().send().await.unwrap();
        let (status, body): (StatusCode, Value) = (response.status(), response.json().await.unwrap());
        if body["code"] != "rate_limited" {
            return (status, body);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The files below a folder that contain one of these texts.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let has = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if texts.iter().any(has) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// The number of kept enrolment images below a folder.
fn enrolment_images(folder: &Path) -> usize {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let count = |path: PathBuf| match path.is_dir() {
        true => enrolment_images(&path),
        false => usize::from(path.components().any(|part| part.as_os_str() == "enrolled")),
    };
    paths.map(count).sum()
}

/// The folder of photographs of known people; `None`, and a line that says so, without it or without a model that compares faces.
pub fn photographs(test: &str) -> Option<PathBuf> {
    let samples = path_from_env(test, "SIGHTLINE_SAMPLES_DIR")?;
    let models = path_from_env(test, "SIGHTLINE_MODELS_DIR")?;
    if !models.join("mobilefacenet_128d_batch.onnx").exists() && !models.join("face_reid_0095.onnx").exists() {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no model that compares faces");
        return None;
    }
    Some(samples.join("faces"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_says_which_model_compares_faces() {
    let test = "up_says_which_model_compares_faces";
    let Some(models) = path_from_env(test, "SIGHTLINE_MODELS_DIR") else { return };
    let (finds, compares) = (models.join("yunet_n_dynamic.onnx"), models.join("mobilefacenet_128d_batch.onnx"));
    if !finds.exists() || !compares.exists() {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has not both models");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(finds, folder.path().join("yunet_n_dynamic.onnx")).unwrap();
    let up = TestServer::start(&[("SIGHTLINE_MODELS_DIR", folder.path().to_str().unwrap().to_owned())]).await;
    let none = "no model compares faces: sightline models pull mobilefacenet_128d";
    let line = format!("     faces  {none}\n");
    testing::eventually("the line is printed", async || up.process.output().contains(&line)).await;
    let note = async || {
        let ready: Value = reqwest::get(format!("{}/readyz", up.url)).await.unwrap().json().await.unwrap();
        ready["checks"]["face models"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(note().await, none);
    std::fs::copy(compares, folder.path().join("mobilefacenet_128d_batch.onnx")).unwrap();
    assert_eq!(note().await, "mobilefacenet_128d compares the faces that yunet_n finds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faces_in_frames_are_those_of_enrolled_people() {
    let Some(photographs) = photographs("faces_in_frames_are_those_of_enrolled_people") else { return };
    let up = TestServer::start(&[("SIGHTLINE_FACES_LIVE", "on".to_owned())]).await;
    let operator = TestUser { id: String::new(), token: up.token.clone(), url: up.url.clone() };
    let subject = operator.enrol(&photographs.join("obama_a.jpg")).await;
    let stranger = json!({"name": "stranger", "condition": "unknown"});
    assert_eq!(operator.json(Method::POST, "/v1/rules", stranger).await.0, StatusCode::CREATED);
    // The rule and the gallery count after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    up.command(&["push", photographs.join("obama_biden_2faces.jpg").to_str().unwrap()]);
    let client = TestClient::new(&up.url, &up.token);
    let detections = format!("/v1/detections?attributes.subject={subject}");
    testing::eventually("the frame is indexed", async || {
        !client.json(&detections).await["items"].as_array().unwrap().is_empty()
    })
    .await;
    let found = client.json(&detections).await;
    let items = found["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["subject_name"]), (1, &json!(NAME)), "{found}");
    assert_eq!(items[0]["attributes"]["identity"], "subject");
    assert!(items[0]["attributes"]["similarity"].as_f64().unwrap() > 0.4, "{found}");
    let unknown = client.json("/v1/detections?attributes.identity=unknown").await;
    assert_eq!(unknown["items"].as_array().unwrap().len(), 1, "{unknown}");
    testing::eventually("the stranger's alert", async || {
        client.json("/v1/alerts/history?rule=stranger").await["items"].as_array().unwrap().len() == 1
    })
    .await;
    let frames = client.json("/v1/frames").await.to_string();
    assert!(frames.contains(NAME), "a list of frames has names: {frames}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detection_from_before_a_merge_has_the_name_of_the_subject_that_stays() {
    let up = TestServer::start(&[]).await;
    let operator = TestUser { id: String::new(), token: up.token.clone(), url: up.url.clone() };
    let (stays, merged) = (operator.subject(NAME).await, operator.subject("Ann").await);
    let path = operator.detection(&recognised_as(&merged)).await;
    let found = async || operator.send(Method::GET, &path).await;
    assert_eq!(found().await.1["subject_name"], "Ann");

    let merge = format!("/v1/faces/subjects/{stays}/merge");
    assert_eq!(operator.json(Method::POST, &merge, json!({"from": merged})).await.0, StatusCode::OK);

    let (_, after) = found().await;
    assert_eq!((&after["subject_name"], &after["attributes"]["subject"]), (&json!(NAME), &json!(merged)));
    assert_eq!(operator.send(Method::DELETE, &format!("/v1/faces/subjects/{stays}")).await.0, StatusCode::OK);
    assert_eq!(found().await.1.get("subject_name"), None, "the person is deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_found_on_detections_from_before_a_merge() {
    let up = TestServer::start(&[]).await;
    let ann = TestUser::add(&up, "ann").await;
    let (stays, merged) = (ann.subject(NAME).await, ann.subject("Ann").await);
    let (of_merged, of_stays) =
        (ann.detection(&recognised_as(&merged)).await, ann.detection(&recognised_as(&stays)).await);
    let new = json!({"name": "lists", "scopes": ["detections:read"]});
    let (status, made) = ann.json(Method::POST, "/v1/api-tokens", new).await;
    assert_eq!(status, StatusCode::CREATED);
    let token = made["token"].as_str().unwrap().to_owned();
    let lister = TestUser { id: String::new(), token, url: up.url.clone() };
    let found = async |user: &TestUser, subject: &str| {
        let (_, page) = user.send(Method::GET, &format!("/v1/detections?attributes.subject={subject}")).await;
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| format!("/v1/detections/{}", item["id"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(found(&ann, &stays).await, std::slice::from_ref(&of_stays));

    let merge = format!("/v1/faces/subjects/{stays}/merge");
    assert_eq!(ann.json(Method::POST, &merge, json!({"from": merged})).await.0, StatusCode::OK);

    assert_eq!(found(&ann, &stays).await, [of_stays.clone(), of_merged.clone()], "the newest first");
    assert_eq!(found(&ann, &merged).await, [of_merged], "of the earlier id alone");
    assert_eq!(found(&lister, &stays).await, [of_stays], "without the scope faces:read nobody learns of the merge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_of_a_rejected_detection_names_nobody_until_that_is_undone() {
    let up = TestServer::start(&[]).await;
    let operator = TestUser { id: String::new(), token: up.token.clone(), url: up.url.clone() };
    let named = recognised_as(&operator.subject(NAME).await);
    let rule = json!({"name": "known", "condition": "subject != \"\""});
    assert_eq!(operator.json(Method::POST, "/v1/rules", rule).await.0, StatusCode::CREATED);
    // The rule counts after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let detection = operator.detection(&named).await;
    let alerted = async || {
        let (_, page) = operator.send(Method::GET, "/v1/alerts/history?rule=known").await;
        page["items"].as_array().unwrap().iter().map(|alert| alert["attributes"].clone()).collect::<Vec<_>>()
    };
    testing::eventually("the alert is stored", async || alerted().await == [named.clone()]).await;

    let reject = format!("{detection}/reject");
    for (method, expected) in [(Method::POST, json!({"identity": "rejected"})), (Method::DELETE, named.clone())] {
        let (status, response) = operator.send(method, &reject).await;
        assert_eq!(status, StatusCode::OK, "{response}");
        assert_eq!(alerted().await, [expected]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_users_faces_are_in_no_file() {
    let Some(photographs) = photographs("a_deleted_users_faces_are_in_no_file") else { return };
    let image = |name: &str| photographs.join(name);
    let mut up = TestServer::start(&[("SIGHTLINE_FACES_KEEP_IMAGES", "on".to_owned())]).await;
    let (ann, bob) = (TestUser::add(&up, "ann").await, TestUser::add(&up, "bob").await);
    let subject = ann.enrol(&image("obama_a.jpg")).await;
    let (status, found) = ann.image("/v1/faces/search", &image("obama_b.jpg")).await;
    assert_eq!((status, &found["matches"][0]["name"]), (StatusCode::OK, &json!(NAME)), "{found}");
    let (_, others) = bob.image("/v1/faces/search", &image("obama_b.jpg")).await;
    assert_eq!((&others["matches"], &others["subjects"]), (&json!([]), &json!(0)), "{others}");

    let data = up.data.path().join("data");
    assert!(!files_with(&data, &[NAME, &subject]).is_empty(), "the search for files finds what is there");
    assert_eq!(enrolment_images(&data), 1);
    let deleted = reqwest::Client::new().delete(format!("{}/v1/users/{}", up.url, ann.id)).bearer_auth(&up.token);
    assert!(deleted.send().await.unwrap().status().is_success());
    assert_eq!(files_with(&data, &[NAME, &subject]), Vec::<String>::new());
    assert_eq!(enrolment_images(&data), 0);
    assert!(up.process.stop(), "{}", up.process.output());
    assert_eq!(files_with(&data, &[NAME, &subject]), Vec::<String>::new(), "after the end");
    assert!(!up.process.output().contains(NAME), "a name is in the log output");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_changes_the_model_and_is_told_whom_it_would_lose() {
    let name = "the_operator_changes_the_model_and_is_told_whom_it_would_lose";
    let Some(photographs) = photographs(name) else { return };
    let models = path_from_env(name, "SIGHTLINE_MODELS_DIR").unwrap();
    if ["mobilefacenet_128d_batch.onnx", "face_reid_0095.onnx"].iter().any(|file| !models.join(file).exists()) {
        println!("skipped: {name}: SIGHTLINE_MODELS_DIR does not have both models for embeddings");
        return;
    }
    let up = TestServer::start(&[]).await;
    let operator = TestUser { id: String::new(), token: up.token.clone(), url: up.url.clone() };
    let subject = operator.enrol(&photographs.join("obama_a.jpg")).await;
    assert_eq!(up.command(&["faces", "model"]), "model: face_reid_0095\nfaces: 1, negatives: 0\n");
    up.command(&["faces", "model", "use", "mobilefacenet_128d"]);
    testing::eventually("the change waits for a decision", async || {
        let shown = up.command(&["faces", "model"]);
        shown.contains("--without-missing") && shown.contains(&subject) && shown.starts_with("model: face_reid_0095\n")
    })
    .await;
    let (succeeded, _, error) = up.outcome(&["faces", "model", "use", "yunet_n"]);
    assert!(!succeeded && error.contains("yunet_n"), "{error}");
    up.command(&["faces", "model", "use", "mobilefacenet_128d", "--without-missing"]);
    testing::eventually("the other model compares", async || {
        up.command(&["faces", "model"]) == "model: mobilefacenet_128d\nfaces: 0, negatives: 0\n"
    })
    .await;
    let back = up.command(&["faces", "model", "use", "face_reid_0095"]);
    assert_eq!(back, "model: face_reid_0095\nfaces: 1, negatives: 0\n", "its vectors are still there");
}
