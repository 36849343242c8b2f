//! Counts the accepted frames of each stream, and writes the counts to the store every two seconds, so that a frame costs no write.
//!
//! In: each accepted frame. Out: [`SentFrames`] of the streams that sent some. Bounded: beyond the limits frames are accepted and not
//! counted. While the store cannot be written, counts are kept; those since the last write are lost when the process is killed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consumer_kit::repeat;
use contracts::{FrameId, StreamName, TenantId};
use jiff::Timestamp;
use store::{Documents, FrameSpan, SentFrames, StoreError};
use tokio_util::sync::CancellationToken;

/// Maximum number of streams of a tenant that are stored.
pub const MAX_STREAMS: usize = 1_000;
/// Maximum number of streams with counts that are not written yet, at some 300 bytes each.
const MAX_COUNTED: usize = 20_000;
/// Time between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Time limit for the last write at the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// The frames that were accepted since the last write.
pub struct SentFramesLog {
    documents: Arc<dyn Documents>,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    tenants: HashMap<TenantId, HashMap<StreamName, SentFrames>>,
    streams: usize,
}

impl Counted {
    fn add(&mut self, sent: SentFrames) {
        let full = self.streams >= MAX_COUNTED;
        if full && !self.tenants.contains_key(&sent.tenant) {
            return;
        }
        let streams = self.tenants.entry(sent.tenant.clone()).or_default();
        let full = full || streams.len() >= MAX_STREAMS;
        match streams.entry(sent.stream.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.captured_at = known.captured_at.max(sent.captured_at);
                known.span.add(sent.span);
            }
            Entry::Vacant(_) if full => {}
            Entry::Vacant(free) => {
                free.insert(sent);
                self.streams += 1;
            }
        }
    }

    fn take(&mut self) -> Vec<SentFrames> {
        let taken = std::mem::take(self);
        taken.tenants.into_values().flat_map(HashMap::into_values).collect()
    }
}

impl SentFramesLog {
    /// Nothing is counted yet.
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents, counted: Mutex::default() }
    }

    /// Counts an accepted frame.
    pub fn add(&self, tenant: &TenantId, stream: &StreamName, frame: FrameId, captured_at: Timestamp) {
        let span = FrameSpan::of(frame, Timestamp::now());
        self.counted().add(SentFrames { tenant: tenant.clone(), stream: stream.clone(), captured_at, span });
    }

    /// Writes the counts every two seconds, until `stop`.
    pub async fn write_until(&self, stop: &CancellationToken) {
        let consequence = "the frames of streams are not counted at the moment; trying again";
        repeat(WRITE_EVERY, stop, consequence, || self.write()).await;
    }

    /// Writes the counts at the end.
    pub async fn write_last(&self) {
        match tokio::time::timeout(LAST_WRITE, self.write()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last frames of streams are not counted"),
            Err(_) => tracing::warn!("the last frames of streams are not counted: the store did not respond in time"),
        }
    }

    async fn write(&self) -> Result<(), StoreError> {
        let sent = self.counted().take();
        if sent.is_empty() {
            return Ok(());
        }
        let written = self.documents.record_frames(&sent, MAX_STREAMS).await;
        if written.is_err() {
            let mut counted = self.counted();
            sent.into_iter().for_each(|sent| counted.add(sent));
        }
        written
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        // No code that can panic runs under this lock.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(tenant: usize, stream: usize) -> SentFrames {
        SentFrames {
            tenant: format!("tenant-{tenant}").parse().unwrap(),
            stream: format!("stream-{stream}").parse().unwrap(),
            captured_at: Timestamp::UNIX_EPOCH,
            span: FrameSpan::of(FrameId::now(), Timestamp::now()),
        }
    }

    #[test]
    fn neither_a_tenant_nor_all_together_exceed_their_limit() {
        let mut counted = Counted::default();
        for stream in 0..2 * MAX_STREAMS {
            counted.add(sent(0, stream));
        }
        assert_eq!(counted.streams, MAX_STREAMS);
        counted.add(sent(1, 0));
        assert_eq!(counted.streams, MAX_STREAMS + 1, "another tenant has room");
        for tenant in 2..2 * MAX_COUNTED {
            counted.add(sent(tenant, 0));
        }
        assert_eq!(counted.streams, MAX_COUNTED);
        assert!(counted.tenants.len() <= MAX_COUNTED);
        counted.add(sent(1, 0));
        let taken = counted.take();
        assert_eq!(taken.len(), MAX_COUNTED);
        assert!(taken.iter().any(|sent| sent.span.frames == 2), "a known stream is counted on");
        assert_eq!(counted.streams, 0);
    }
}
