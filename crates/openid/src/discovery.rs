//! The provider's metadata, its endpoints and keys: fetched at first use and cached.
//!
//! Metadata older than an hour is refreshed in the background, while sign-ins use the old; after a failure the next attempt
//! waits. Requests that need new metadata share one attempt; other requests do not wait for it. Tokens with unknown keys cause at
//! most one fetch per [`MIN_REFRESH_INTERVAL`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openidconnect::core::CoreProviderMetadata;
use openidconnect::{DiscoveryError, IssuerUrl};
use tokio::time::Instant;

use crate::client::{HttpError, ProviderClient};
use crate::error::OpenIdError;

/// The metadata of the provider.
pub type Metadata = CoreProviderMetadata;

/// Age from which on the metadata is refreshed.
const CACHE_TIME: Duration = Duration::from_secs(60 * 60);
/// Age at which metadata is no longer used. It bounds how long a key is valid that the provider has withdrawn.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Shortest time between two fetches while there is metadata to use.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(30);
/// Time for which a failure is cached while there is no metadata to use.
pub const FAILURE_CACHE_TIME: Duration = Duration::from_secs(2);

/// Fetches and caches the metadata.
pub struct Discovery(Arc<Shared>);

struct Shared {
    issuer: IssuerUrl,
    client: ProviderClient,
    /// [`MIN_REFRESH_INTERVAL`], except in tests.
    min_refresh_interval: Duration,
    failure_cache_time: Duration,
    known: Mutex<Known>,
    /// Held during a fetch.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// With the time of its fetch.
    metadata: Option<(Arc<Metadata>, Instant)>,
    /// The last attempt, if it failed.
    failed: Option<(String, Instant)>,
}

impl Known {
    /// The metadata, if it is younger than `age`.
    fn younger_than(&self, age: Duration) -> Option<Arc<Metadata>> {
        self.metadata.as_ref().filter(|(_, at)| at.elapsed() < age).map(|(metadata, _)| Arc::clone(metadata))
    }
}

impl Discovery {
    /// `failure_cache_time` is the time for which a failure is cached, usually [`FAILURE_CACHE_TIME`].
    pub fn new(issuer: IssuerUrl, client: ProviderClient, failure_cache_time: Duration) -> Self {
        Self(Arc::new(Shared {
            issuer,
            client,
            min_refresh_interval: MIN_REFRESH_INTERVAL,
            failure_cache_time,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }))
    }

    pub fn client(&self) -> &ProviderClient {
        &self.0.client
    }

    /// Another shortest time between two fetches. Panics when a fetch is in progress.
    #[cfg(test)]
    pub(crate) fn set_min_refresh_interval(&mut self, interval: Duration) {
        Arc::get_mut(&mut self.0).expect("no fetch is in progress").min_refresh_interval = interval;
    }

    /// The metadata: at most an hour old, or up to a day while the provider does not answer.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, OpenIdError> {
        let (fresh, usable) = {
            let known = self.0.known();
            (known.younger_than(CACHE_TIME), known.younger_than(MAX_AGE))
        };
        match (fresh, usable) {
            (Some(metadata), _) => Ok(metadata),
            (None, Some(old)) => {
                tokio::spawn(Arc::clone(&self.0).refresh());
                Ok(old)
            }
            (None, None) => self.0.fetch(None).await,
        }
    }

    /// Metadata that was fetched after `seen`; `None` while it is too early to fetch again.
    pub async fn refreshed_since(&self, seen: &Arc<Metadata>) -> Result<Option<Arc<Metadata>>, OpenIdError> {
        {
            let known = self.0.known();
            match &known.metadata {
                // Another request has fetched it since.
                Some((metadata, _)) if !Arc::ptr_eq(metadata, seen) => return Ok(Some(Arc::clone(metadata))),
                Some((_, at)) if at.elapsed() < self.0.min_refresh_interval => return Ok(None),
                _ => {}
            }
        }
        self.0.fetch(Some(seen)).await.map(Some)
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refreshes old metadata, unless that is in progress or failed a short time ago.
    async fn refresh(self: Arc<Self>) {
        let Ok(_fetching) = self.fetching.try_lock() else { return };
        let refreshed = self.known().younger_than(CACHE_TIME).is_some();
        if refreshed || self.recent_failure().is_some() {
            return;
        }
        if let Err(error) = self.attempt().await {
            tracing::warn!(
                error = error.to_string(),
                "the OpenID provider's metadata is not refreshed; the old is used"
            );
        }
    }

    /// Metadata that is not `seen`: fetched now, or by another request at the same time.
    async fn fetch(&self, seen: Option<&Arc<Metadata>>) -> Result<Arc<Metadata>, OpenIdError> {
        let _fetching = self.fetching.lock().await;
        let fetched = self.known().younger_than(CACHE_TIME);
        if let Some(metadata) = fetched.filter(|fetched| seen.is_none_or(|seen| !Arc::ptr_eq(fetched, seen))) {
            return Ok(metadata);
        }
        match self.recent_failure() {
            Some(why) => Err(OpenIdError::Unavailable(why)),
            None => self.attempt().await,
        }
    }

    /// Why the last attempt failed, if it is too early for the next one.
    fn recent_failure(&self) -> Option<String> {
        let known = self.known();
        let usable = known.younger_than(MAX_AGE).is_some();
        let pause = if usable { self.min_refresh_interval } else { self.failure_cache_time };
        known.failed.as_ref().filter(|(_, at)| at.elapsed() < pause).map(|(why, _)| why.clone())
    }

    async fn attempt(&self) -> Result<Arc<Metadata>, OpenIdError> {
        match Metadata::discover_async(self.issuer.clone(), &self.client).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *self.known() = Known { metadata: Some((Arc::clone(&metadata), Instant::now())), failed: None };
                Ok(metadata)
            }
            Err(error) => {
                let why = reason(error);
                self.known().failed = Some((why.clone(), Instant::now()));
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
    use crate::args::OpenIdArgs;

    /// A provider that answers while it is up, and counts requests for its metadata.
    struct TestProvider {
        url: String,
        up: AtomicBool,
        /// It does not answer at all.
        hangs: AtomicBool,
        requests: AtomicUsize,
    }

    impl TestProvider {
        async fn start() -> Arc<Self> {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let provider = Arc::new(Self {
                url,
                up: AtomicBool::new(true),
                hangs: AtomicBool::new(false),
                requests: AtomicUsize::new(0),
            });
            let routes = Router::new()
                .route("/.well-known/openid-configuration", get(Self::metadata))
                .route("/jwks", get(|| async { Json(json!({"keys": []})) }))
                .with_state(Arc::clone(&provider));
            tokio::spawn(async move { axum::serve(listener, routes).await });
            provider
        }

        async fn metadata(State(provider): State<Arc<Self>>) -> Result<Json<Value>, StatusCode> {
            provider.requests.fetch_add(1, Ordering::SeqCst);
            if provider.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
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
        discovery.set_min_refresh_interval(Duration::ZERO);
        let newer = discovery.refreshed_since(&first).await.unwrap().unwrap();
        assert!(!Arc::ptr_eq(&first, &newer));
        discovery.set_min_refresh_interval(MIN_REFRESH_INTERVAL);
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

    /// Makes the metadata older by this time.
    fn age(discovery: &Discovery, by: Duration) {
        let mut known = discovery.0.known();
        let (_, at) = known.metadata.as_mut().unwrap();
        *at = at.checked_sub(by).unwrap();
    }

    #[tokio::test]
    async fn old_metadata_is_used_while_the_provider_fails() {
        let provider = TestProvider::start().await;
        let discovery = provider.discovery(Duration::ZERO);
        let first = discovery.metadata().await.unwrap();
        age(&discovery, CACHE_TIME);
        provider.up.store(false, Ordering::SeqCst);
        while discovery.0.known().failed.is_none() {
            assert!(Arc::ptr_eq(&first, &discovery.metadata().await.unwrap()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..20 {
            assert!(Arc::ptr_eq(&first, &discovery.metadata().await.unwrap()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(provider.requests.load(Ordering::SeqCst), 2, "one failed attempt, and then a pause");
        age(&discovery, MAX_AGE);
        discovery.metadata().await.expect_err("its keys may be withdrawn");
    }

    #[tokio::test]
    async fn a_provider_that_hangs_delays_no_sign_in() {
        let provider = TestProvider::start().await;
        let discovery = provider.discovery(FAILURE_CACHE_TIME);
        let first = discovery.metadata().await.unwrap();
        provider.hangs.store(true, Ordering::SeqCst);
        age(&discovery, CACHE_TIME);
        let unknown_key = discovery.refreshed_since(&first);
        let others = async {
            while provider.requests.load(Ordering::SeqCst) < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            discovery.metadata().await.is_ok()
        };
        tokio::select! {
            biased;
            _ = unknown_key => panic!("the provider does not answer"),
            served = others => assert!(served),
        }
    }

    #[tokio::test]
    async fn old_metadata_is_refreshed_in_the_background() {
        let provider = TestProvider::start().await;
        let discovery = provider.discovery(FAILURE_CACHE_TIME);
        let first = discovery.metadata().await.unwrap();
        age(&discovery, CACHE_TIME);
        let deadline = Instant::now() + Duration::from_secs(30);
        while Arc::ptr_eq(&first, &discovery.metadata().await.unwrap()) {
            assert!(Instant::now() < deadline, "it stays old");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(provider.requests.load(Ordering::SeqCst), 2);
    }
}
