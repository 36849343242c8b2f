//! The service with its dependencies, on a free port.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use accounts::{AccessError, Accounts, Caller, Scope};
use async_trait::async_trait;
use clap::Parser;
use contracts::{FrameId, Topics, VectorId};
use faces::uploads::Uploads;
use faces::{Config, Deps, SharedArgs};
use gallery::{Embedding, GalleryKey, StoredVector, VectorKind};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use store::relational::VectorWriteOutcome;
use store::{ObjectBlobs, Relational, SqliteDocuments};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    frames: contracts::FrameArgs,
    #[command(flatten)]
    models: vision::ModelArgs,
    #[command(flatten)]
    inference: vision::InferenceArgs,
    #[command(flatten)]
    uses: contracts::FaceArgs,
    #[command(flatten)]
    galleries: store::GalleryArgs,
}

/// Tokens of the form `tenant` or `tenant:scope`; without a scope, both for faces. That of a user ends with `@` and the user's id.
pub struct Tenants;

#[async_trait]
impl Accounts for Tenants {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        let (token, user) = token.split_once('@').map_or((token, None), |(token, user)| (token, Some(user)));
        let (tenant, scope) = token.split_once(':').map_or((token, None), |(tenant, scope)| (tenant, Some(scope)));
        let tenant = tenant.parse().map_err(|_| AccessError::InvalidCredential)?;
        let both = vec![Scope::FacesRead, Scope::FacesWrite];
        let scopes = scope.map_or(both, |scope| Scope::parse_list(scope).unwrap());
        let user = user.map(|user| user.parse().unwrap());
        Ok(Caller { user, ..Caller::new(tenant, scopes) })
    }

    async fn charge(&self, _: &Caller, _: FrameId) -> Result<(), AccessError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), AccessError> {
        Ok(())
    }
}

/// The settings that these flags give.
pub fn config(flags: &[&str]) -> Config {
    Settings::parse_from(["test", "--models-dir", "models"].iter().chain(flags)).config
}

/// The running service. It stops when this is dropped.
pub struct TestService {
    url: String,
    client: reqwest::Client,
    running: JoinHandle<()>,
    /// Subjects and vectors.
    pub database: Relational,
    /// Detections and alerts.
    pub documents: Arc<SqliteDocuments>,
    /// Kept images.
    pub blobs: Arc<ObjectBlobs>,
    folder: TempDir,
}

impl Drop for TestService {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl TestService {
    /// The file of the database.
    pub fn database_file(&self) -> PathBuf {
        self.folder.path().join("accounts.sqlite")
    }

    /// What `/readyz` says.
    pub async fn ready(&self) -> (StatusCode, String) {
        let response = self.client.get(format!("{}/readyz", self.url)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    pub async fn start(models: Option<&Path>) -> Self {
        Self::start_with(models, &[]).await
    }

    /// With further flags.
    pub async fn start_with(models: Option<&Path>, flags: &[&str]) -> Self {
        Self::start_on(models, flags, None).await
    }

    /// With a folder of uploads too.
    pub async fn start_on(models: Option<&Path>, flags: &[&str], uploads: Option<Uploads>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        database.migrate().await.unwrap();
        let documents = Arc::new(SqliteDocuments::open(folder.path().join("documents.sqlite")).unwrap());
        let blobs = Arc::new(ObjectBlobs::folder(folder.path().join("blobs")).unwrap());
        let empty = folder.path().join("models");
        let models = models.unwrap_or(&empty).to_str().unwrap();
        let settings = Settings::parse_from(["test", "--models-dir", models].iter().chain(flags));
        let shared = SharedArgs {
            frames: settings.frames,
            models: settings.models,
            inference: settings.inference,
            uses: settings.uses,
        };
        let deps = Deps {
            accounts: Arc::new(Tenants),
            galleries: settings.galleries.galleries(&database),
            database: database.clone(),
            documents: documents.clone(),
            blobs: blobs.clone(),
            topics: Topics::parse(contracts::topics::DEFAULT).unwrap(),
            uploads,
            traces: platform::traces::Traces::off(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let running =
            tokio::spawn(async move { faces::run(settings.config, shared, deps, listener, stop).await.unwrap() });
        Self { url, client: reqwest::Client::new(), running, database, documents, blobs, folder }
    }

    /// The service with the models of `SIGHTLINE_MODELS_DIR`, and the folder of photographs of known people; prints what is missing.
    pub async fn with_models(test: &str) -> Option<(Self, PathBuf)> {
        Self::with_models_and(test, &[]).await
    }

    /// The same, if there are two models for embeddings, of which the first is preferred.
    pub async fn with_both_models(test: &str, flags: &[&str]) -> Option<(Self, PathBuf)> {
        let found = Self::with_models_and(test, flags).await?;
        let models = std::env::var_os("SIGHTLINE_MODELS_DIR").map(PathBuf::from)?;
        if ["mobilefacenet_128d_batch.onnx", "face_reid_0095.onnx"].iter().any(|file| !models.join(file).exists()) {
            println!("skipped: {test}: SIGHTLINE_MODELS_DIR does not have both models for embeddings");
            return None;
        }
        Some(found)
    }

    /// With further flags.
    pub async fn with_models_and(test: &str, flags: &[&str]) -> Option<(Self, PathBuf)> {
        let (models, photographs) = Self::models(test)?;
        Some((Self::start_with(Some(&models), flags).await, photographs))
    }

    /// The models of `SIGHTLINE_MODELS_DIR`, and the folder of photographs of known people; prints what is missing.
    pub fn models(test: &str) -> Option<(PathBuf, PathBuf)> {
        let folder = |variable: &str| {
            let value = std::env::var_os(variable);
            if value.is_none() {
                println!("skipped: {test}: {variable} is not set");
            }
            value.map(PathBuf::from)
        };
        let (samples, models) = (folder("SIGHTLINE_SAMPLES_DIR")?, folder("SIGHTLINE_MODELS_DIR")?);
        let has = |file: &str| models.join(file).exists();
        let embeds = has("mobilefacenet_128d_batch.onnx") || has("face_reid_0095.onnx");
        if !embeds || !(has("yunet_n_dynamic.onnx") || has("centerface.onnx")) {
            println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no model for faces and their embeddings");
            return None;
        }
        Some((models, samples.join("faces")))
    }

    /// The number of all stored images.
    pub fn image_count(&self) -> usize {
        fn files(folder: &Path) -> usize {
            let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
            let paths = entries.map(|entry| entry.unwrap().path());
            paths.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
        }
        files(&self.folder.path().join("blobs"))
    }

    /// The status and the body of a request with a body; `null` if the response has none.
    pub async fn send(&self, token: &str, method: Method, path: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(token).body(body);
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    pub async fn json(&self, token: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(token).json(&body);
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub async fn form(&self, token: &str, path: &str, form: reqwest::multipart::Form) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(token).multipart(form);
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// A request of which only the head and the first bytes of the body have been sent.
    pub async fn begin_body(&self, token: &str, path: &str, declared: usize, first: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {declared}\r\n\r\n"
        );
        client.write_all(&[head.as_bytes(), first].concat()).await.unwrap();
        client
    }

    pub async fn get(&self, token: &str, path: &str) -> (StatusCode, Value) {
        self.send(token, Method::GET, path, Vec::new()).await
    }

    /// The status of a request with a JSON body, and the code of its problem.
    pub async fn json_refused(&self, token: &str, method: Method, path: &str, body: &str) -> (u16, String) {
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(token);
        let response = request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The status of a request, and the code of its problem.
    pub async fn refused(&self, token: &str, method: Method, path: &str, body: Vec<u8>) -> (u16, String) {
        let (status, problem) = self.send(token, method, path, body).await;
        (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The id of a new subject.
    pub async fn subject(&self, token: &str, name: &str) -> String {
        let (status, subject) =
            self.json(token, Method::POST, "/v1/faces/subjects", serde_json::json!({"name": name})).await;
        assert_eq!(status, StatusCode::CREATED, "{subject}");
        subject["id"].as_str().unwrap().to_owned()
    }

    /// Stores a face of a subject without a model, as the enrolment of an image of its own does. Returns its id.
    pub async fn put_face(&self, tenant: &str, subject: &str, number: u128) -> VectorId {
        let mut numbers = [0.0; 128];
        numbers[number as usize % 128] = 1.0;
        let vector = StoredVector {
            id: VectorId::from_uuid(uuid::Uuid::from_u128(number)),
            subject: subject.parse().unwrap(),
            kind: VectorKind::Enrolled,
            embedding: Embedding::new(&numbers, numbers.len()).unwrap(),
        };
        let key = GalleryKey { tenant: tenant.parse().unwrap(), model: "mobilefacenet_128d".to_owned() };
        let put = self.database.put_face(&key, &vector, None, None, jiff::Timestamp::now()).await.unwrap();
        assert_eq!(put, VectorWriteOutcome::Stored);
        vector.id
    }

    /// Enrols an image.
    pub async fn enrol(&self, token: &str, subject: &str, image: &Path) {
        let path = format!("/v1/faces/subjects/{subject}/images");
        let (status, enrolled) = self.send(token, Method::POST, &path, std::fs::read(image).unwrap()).await;
        assert_eq!(status, StatusCode::CREATED, "{}: {enrolled}", image.display());
    }
}
