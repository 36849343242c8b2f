//! A model with a fixed inference time that uses no CPU: an HTTP engine that finds one face in every image.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

const FACE: &str = r#"{"detections":[{"label":"face","confidence":0.9,"box":{"x":1,"y":1,"width":2,"height":2}}]}"#;

/// The engine; it stops when this is dropped.
pub struct Engine {
    url: String,
    _serving: AbortOnDropHandle<()>,
}

impl Engine {
    /// Starts on a free port; every request takes `time`.
    pub async fn start(time: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the engine")?;
        let url = format!("http://{}/detect", listener.local_addr()?);
        let answer = move |_: Bytes| async move {
            tokio::time::sleep(time).await;
            ([("content-type", "application/json")], FACE)
        };
        let serving = axum::serve(listener, Router::new().route("/detect", post(answer)));
        let serving = tokio::spawn(async move { drop(serving.await) });
        Ok(Self { url, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Writes a models file that names it as the detector `face`.
    pub fn describe(&self, file: &Path) -> anyhow::Result<()> {
        let text = format!(
            "detectors: {{face: [bench]}}\nmodels:\n- {{name: bench, task: face, licence: none, commercial: true, input: any, \
             output: one face, engine: {{kind: http, url: \"{}\", concurrency: 1}}}}\n",
            self.url
        );
        std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
    }
}
