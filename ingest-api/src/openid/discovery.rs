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
pub const FAILURE_CACHE_TIME: Duration = Duration::from_secs(2);

/// Fetches and caches the metadata.
pub struct Discovery {
    issuer: IssuerUrl,
    client: ProviderClient,
    /// [`MIN_REFRESH_INTERVAL`], except in tests.
    min_refresh_interval: Duration,
    failure_cache_time: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Instant)>,
    failed: Option<(String, Instant)>,
}

impl Discovery {
    /// `failure_cache_time` is the time for which a failure is cached, usually [`FAILURE_CACHE_TIME`].
    pub fn new(issuer: IssuerUrl, client: ProviderClient, failure_cache_time: Duration) -> Self {
        let min_refresh_interval = MIN_REFRESH_INTERVAL;
        Self { issuer, client, min_refresh_interval, failure_cache_time, known: Mutex::default() }
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
            && at.elapsed() < self.failure_cache_time
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;
    use crate::openid::OpenIdArgs;

    /// A provider that answers while it is up, and counts requests for its metadata.
    struct TestProvider {
        url: String,
        up: AtomicBool,
        requests: AtomicUsize,
    }

    impl TestProvider {
        async fn start() -> Arc<Self> {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let provider = Arc::new(Self { url, up: AtomicBool::new(true), requests: AtomicUsize::new(0) });
            let routes = Router::new()
                .route("/.well-known/openid-configuration", get(Self::metadata))
                .route("/jwks", get(|| async { Json(json!({"keys": []})) }))
                .with_state(Arc::clone(&provider));
            tokio::spawn(async move { axum::serve(listener, routes).await });
            provider
        }

        async fn metadata(State(provider): State<Arc<Self>>) -> Result<Json<Value>, StatusCode> {
            provider.requests.fetch_add(1, Ordering::SeqCst);
            let url = &provider.url;
            let metadata = json!({
                "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "jwks_uri": format!("{url}/jwks"),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            });
            if provider.up.load(Ordering::SeqCst) { Ok(Json(metadata)) } else { Err(StatusCode::BAD_GATEWAY) }
        }

        fn discovery(&self, failure_cache_time: Duration) -> Discovery {
            let client = ProviderClient::new(&self.url.parse().unwrap(), &OpenIdArgs::default()).unwrap();
            Discovery::new(IssuerUrl::new(self.url.clone()).unwrap(), client, failure_cache_time)
        }
    }

    #[tokio::test]
    async fn keys_are_refreshed_once_for_all_requests_and_not_too_often() {
        let mut discovery = TestProvider::start().await.discovery(FAILURE_CACHE_TIME);
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

    #[tokio::test]
    async fn a_failure_is_cached_for_its_time_and_no_longer() {
        let provider = TestProvider::start().await;
        for (failure_cache_time, requests) in [(Duration::from_secs(3600), 1), (Duration::ZERO, 3)] {
            provider.requests.store(0, Ordering::SeqCst);
            provider.up.store(false, Ordering::SeqCst);
            let discovery = provider.discovery(failure_cache_time);
            for _ in 0..2 {
                discovery.metadata().await.expect_err("the provider is down");
            }
            provider.up.store(true, Ordering::SeqCst);
            let recovered = discovery.metadata().await.is_ok();
            assert_eq!((recovered, provider.requests.load(Ordering::SeqCst)), (requests == 3, requests));
        }
    }
}
