//! What the provider publishes of itself, its addresses and keys: fetched when it is first needed, and kept for a while.
//!
//! Whoever makes up tokens with keys that nobody knows makes us ask the provider once in [`BETWEEN`], not once for each; and
//! while it is away, many who wait for it are answered by one attempt.

use std::sync::Arc;
use std::time::Duration;

use openidconnect::core::CoreProviderMetadata;
use openidconnect::{DiscoveryError, IssuerUrl};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::OpenIdError;
use super::client::{Http, HttpError};

/// What the provider publishes.
pub type Metadata = CoreProviderMetadata;

/// How long it is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Least time between two fetches for the sake of keys that are not known.
const BETWEEN: Duration = Duration::from_secs(30);
/// How long after a failure everybody is told of that one.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// See the head of this file.
pub struct Discovery {
    issuer: IssuerUrl,
    http: Http,
    /// As [`BETWEEN`].
    between: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Instant)>,
    failed: Option<(String, Instant)>,
}

impl Discovery {
    pub fn new(issuer: IssuerUrl, http: Http) -> Self {
        Self { issuer, http, between: BETWEEN, known: Mutex::default() }
    }

    pub fn http(&self) -> &Http {
        &self.http
    }

    /// What the provider published within the last hour.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, OpenIdError> {
        let mut known = self.known.lock().await;
        match &known.metadata {
            Some((metadata, at)) if at.elapsed() < KEPT => Ok(Arc::clone(metadata)),
            _ => self.fetch(&mut known).await,
        }
    }

    /// What the provider has published since `seen`; nothing while it is too early to ask again.
    pub async fn newer_than(&self, seen: &Arc<Metadata>) -> Result<Option<Arc<Metadata>>, OpenIdError> {
        let mut known = self.known.lock().await;
        match &known.metadata {
            // Somebody else has asked meanwhile.
            Some((metadata, _)) if !Arc::ptr_eq(metadata, seen) => Ok(Some(Arc::clone(metadata))),
            Some((_, at)) if at.elapsed() < self.between => Ok(None),
            _ => self.fetch(&mut known).await.map(Some),
        }
    }

    async fn fetch(&self, known: &mut Known) -> Result<Arc<Metadata>, OpenIdError> {
        if let Some((why, at)) = &known.failed
            && at.elapsed() < AFTER_FAILURE
        {
            return Err(OpenIdError::Away(why.clone()));
        }
        match Metadata::discover_async(self.issuer.clone(), &self.http).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *known = Known { metadata: Some((Arc::clone(&metadata), Instant::now())), failed: None };
                Ok(metadata)
            }
            Err(error) => {
                let why = told(error);
                known.failed = Some((why.clone(), Instant::now()));
                Err(OpenIdError::Away(why))
            }
        }
    }
}

fn told(error: DiscoveryError<HttpError>) -> String {
    match error {
        DiscoveryError::Request(error) => error.to_string(),
        DiscoveryError::Parse(error) => format!("what it publishes of itself does not read: {error}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use axum::{Json, Router};
    use platform::config::OpenIdArgs;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    async fn provider() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let published = json!({
            "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(|| async { Json(published) }))
            .route("/jwks", get(|| async { Json(json!({"keys": []})) }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    #[tokio::test]
    async fn newer_keys_are_asked_for_when_it_is_time_and_once_for_all_who_want_them() {
        let url = provider().await;
        let http = Http::new(&url.parse().unwrap(), &OpenIdArgs::default()).unwrap();
        let mut discovery = Discovery::new(IssuerUrl::new(url).unwrap(), http);
        let first = discovery.metadata().await.unwrap();
        assert!(Arc::ptr_eq(&first, &discovery.metadata().await.unwrap()), "it is kept");
        assert!(discovery.newer_than(&first).await.unwrap().is_none(), "just fetched");
        discovery.between = Duration::ZERO;
        let newer = discovery.newer_than(&first).await.unwrap().unwrap();
        assert!(!Arc::ptr_eq(&first, &newer));
        discovery.between = BETWEEN;
        let others = discovery.newer_than(&first).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&others, &newer), "what another one has fetched meanwhile");
    }
}
