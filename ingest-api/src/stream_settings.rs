//! The settings of streams, in memory.
//!
//! In: the settings of all tenants from the store, read again every second. Out: those of one stream, without waiting. While the store
//! cannot be read, the last ones stay in effect, so frames are accepted as without settings.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use consumer_kit::{Retry, backoff, repeat};
use contracts::{DetectorName, StreamName, TenantId};
use store::{Documents, SettingsOfStream, StoreError, StreamSettings};
use tokio_util::sync::CancellationToken;

/// Longest delay before changed settings are in effect on every instance.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

type ByStream = HashMap<TenantId, HashMap<StreamName, StreamSettings>>;

/// The settings of the streams that have some.
pub struct SettingsByStream {
    documents: Arc<dyn Documents>,
    /// The detectors of the service. Others in stored settings are of an earlier configuration.
    configured: Vec<DetectorName>,
    current: RwLock<ByStream>,
    /// Serialises refreshes, so that the newest settings stay in effect.
    refreshing: tokio::sync::Mutex<()>,
}

impl SettingsByStream {
    /// Without any until the first refresh.
    pub fn new(documents: Arc<dyn Documents>, configured: Vec<DetectorName>) -> Self {
        Self { documents, configured, current: RwLock::default(), refreshing: tokio::sync::Mutex::default() }
    }

    /// The settings of a stream, with the detectors that this service has; `None` for all of them.
    pub fn of(&self, tenant: &TenantId, stream: Option<&StreamName>) -> StreamSettings {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let stored = stream.and_then(|stream| current.get(tenant)?.get(stream));
        let mut settings = stored.cloned().unwrap_or_default();
        if let Some(names) = &mut settings.detectors {
            names.retain(|name| self.configured.contains(name));
        }
        settings.detectors.take_if(|names| names.is_empty());
        settings
    }

    /// Reads the settings, which are in effect on this instance after that.
    ///
    /// # Errors
    /// When the store cannot be read; the last settings stay in effect.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let stored = self.documents.stream_settings().await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = by_stream(stored);
        Ok(())
    }

    /// Puts the settings of one stream, which are stored, into effect on this instance; `None` for those of the service.
    pub async fn set(&self, tenant: &TenantId, stream: StreamName, settings: Option<StreamSettings>) {
        // A refresh that is running may have read the store before the change.
        let _after_refresh = self.refreshing.lock().await;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let streams = current.entry(tenant.clone()).or_default();
        match settings {
            Some(settings) => streams.insert(stream, settings),
            None => streams.remove(&stream),
        };
    }

    /// Reads the settings for the first time, with retries: frames must not run with the wrong detectors. Ends early at `stop`.
    pub async fn start(&self, stop: &CancellationToken) {
        let mut retry = Retry::new("the settings of streams cannot be read", backoff::STORE, stop);
        while let Err(error) = self.refresh().await {
            tracing::warn!(%error, "the settings of streams cannot be read; trying again");
            if retry.wait().await.is_err() {
                return;
            }
        }
    }

    /// Reads the settings every second, until `stop`.
    pub async fn keep_fresh(&self, stop: &CancellationToken) {
        let consequence = "the settings of streams cannot be read; the last ones stay in effect";
        repeat(REFRESH_EVERY, stop, consequence, || self.refresh()).await;
    }
}

fn by_stream(stored: Vec<SettingsOfStream>) -> ByStream {
    let mut by_stream = ByStream::new();
    for SettingsOfStream { tenant, stream, settings } in stored {
        by_stream.entry(tenant).or_default().insert(stream, settings);
    }
    by_stream
}
