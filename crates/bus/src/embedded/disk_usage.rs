//! The log's size on the disk and its limit.

use std::sync::atomic::{AtomicU64, Ordering};

use contracts::TopicRole;

/// Bytes on the disk, by topic.
pub struct DiskUsage {
    limit: u64,
    bytes: [AtomicU64; TopicRole::ALL.len()],
}

impl DiskUsage {
    /// No bytes used, of `limit`.
    pub fn new(limit: u64) -> Self {
        Self { limit, bytes: Default::default() }
    }

    /// Sets the bytes of a topic.
    pub fn set(&self, role: TopicRole, bytes: u64) {
        self.bytes[role as usize].store(bytes, Ordering::Relaxed);
    }

    fn total(&self) -> u64 {
        self.bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Whether `bytes` more may be written to a topic. The last tenth is not for frames: otherwise
    /// the results of accepted frames might not fit, and these frames could never be finished and
    /// dropped.
    pub fn has_room(&self, role: TopicRole, bytes: usize) -> bool {
        let limit = if role == TopicRole::Frames { self.limit / 10 * 9 } else { self.limit };
        self.total() + bytes as u64 <= limit
    }

    /// Whether so little is left that consumed messages should be dropped before their retention ends.
    pub fn is_tight(&self) -> bool {
        self.total() > self.limit / 10 * 8
    }

    /// A description for error messages.
    pub fn describe(&self) -> String {
        format!(
            "{} of {} MiB are used; let the consumers catch up or raise the limit",
            self.total() >> 20,
            self.limit >> 20
        )
    }
}
