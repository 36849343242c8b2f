//! The provider's metadata, its endpoints and keys: fetched at first use and cached.
//!
//! Tokens with unknown keys cause at most one fetch per [`MIN_REFRESH_INTERVAL`]. While the provider is down, waiting requests
//! share one attempt.

use std::sync::Arc;
use std::time::Duration;

use openidconnect::core::CoreProviderMetadata;
use openidconnect::{DiscoveryError, IssuerUrl};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::OpenIdError;
use super::client::{HttpError, ProviderClient};

/// The metadata of the provider.
pub type Metadata = CoreProviderMetadata;

/// Time for which the metadata is cached.
const CACHE_TIME: Duration = Duration::from_secs(60 * 60);
/// Shortest time between two fetches for unknown keys.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(30);
/// Time for which a failure is cached.
const FAILURE_CACHE_TIME: Duration = Duration::from_secs(2);

/// Fetches and caches the metadata.
pub struct Discovery {
    issuer: IssuerUrl,
    client: ProviderClient,
    /// [`MIN_REFRESH_INTERVAL`], except in tests.
    min_refresh_interval: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Instant)>,
    failed: Option<(String, Instant)>,
}

impl Discovery {
    pub fn new(issuer: IssuerUrl, client: ProviderClient) -> Self {
        Self { issuer, client, min_refresh_interval: MIN_REFRESH_INTERVAL, known: Mutex::default() }
    }

    pub fn client(&self) -> &ProviderClient {
        &self.client
    }

    /// The metadata, at most an hour old.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, OpenIdError> {
        let mut known = self.known.lock().await;
        match &known.metadata {
            Some((metadata, at)) if at.elapsed() < CACHE_TIME => Ok(Arc::clone(metadata)),
            _ => self.fetch(&mut known).await,
        }
    }

    /// Metadata that was fetched after `seen`; `None` while it is too early to fetch again.
    pub async fn refreshed_since(&self, seen: &Arc<Metadata>) -> Result<Option<Arc<Metadata>>, OpenIdError> {
        let mut known = self.known.lock().await;
        match &known.metadata {
            // Another request has fetched it since.
            Some((metadata, _)) if !Arc::ptr_eq(metadata, seen) => Ok(Some(Arc::clone(metadata))),
            Some((_, at)) if at.elapsed() < self.min_refresh_interval => Ok(None),
            _ => self.fetch(&mut known).await.map(Some),
        }
    }

    async fn fetch(&self, known: &mut Known) -> Result<Arc<Metadata>, OpenIdError> {
        if let Some((why, at)) = &known.failed
            && at.elapsed() < FAILURE_CACHE_TIME
        {
            return Err(OpenIdError::Unavailable(why.clone()));
        }
        match Metadata::discover_async(self.issuer.clone(), &self.client).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *known = Known { metadata: Some((Arc::clone(&metadata), Instant::now())), failed: None };
                Ok(metadata)
            }
            Err(error) => {
                let why = reason(error);
                known.failed = Some((why.clone(), Instant::now()));
                Err(OpenIdError::Unavailable(why))
            }
        }
    }
}

fn reason(error: DiscoveryError<HttpError>) -> String {
    match error {
        DiscoveryError::Request(error) => error.to_string(),
        DiscoveryError::Parse(error) => format!("its metadata cannot be parsed: {error}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::openid::OpenIdArgs;
    use axum::routing::get;
    use axum::{Json, Router};
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
    async fn keys_are_refreshed_once_for_all_requests_and_not_too_often() {
        let url = provider().await;
        let client = ProviderClient::new(&url.parse().unwrap(), &OpenIdArgs::default()).unwrap();
        let mut discovery = Discovery::new(IssuerUrl::new(url).unwrap(), client);
        let first = discovery.metadata().await.unwrap();
        assert!(Arc::ptr_eq(&first, &discovery.metadata().await.unwrap()), "it is cached");
        assert!(discovery.refreshed_since(&first).await.unwrap().is_none(), "just fetched");
        discovery.min_refresh_interval = Duration::ZERO;
        let newer = discovery.refreshed_since(&first).await.unwrap().unwrap();
        assert!(!Arc::ptr_eq(&first, &newer));
        discovery.min_refresh_interval = MIN_REFRESH_INTERVAL;
        let others = discovery.refreshed_since(&first).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&others, &newer), "fetched by another request");
    }
}
