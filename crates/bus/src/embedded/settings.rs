//! Settings of the embedded log.

use std::fmt;
use std::str::FromStr;

use contracts::Topic;

use super::topic::max_bytes;

/// The failures that an acknowledged message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusSync {
    /// The end of the process, also by kill -9. A power failure may lose the newest messages, but no partial message remains.
    #[default]
    Process,
    /// Also a power failure: every acknowledgement waits for the disk.
    Full,
}

impl BusSync {
    /// The value of SQLite's pragma `synchronous`.
    pub(super) const fn pragma(self) -> &'static str {
        match self {
            Self::Process => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

impl FromStr for BusSync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "process" => Ok(Self::Process),
            "full" => Ok(Self::Full),
            _ => Err(format!("{text:?} is neither process nor full")),
        }
    }
}

impl fmt::Display for BusSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Full => "full",
        })
    }
}

/// Settings of the embedded log. The defaults suit a laptop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The failures that an acknowledged message survives.
    pub sync: BusSync,
    /// Bytes at which a segment is closed and the next one begun. It is also closed when its age is an eighth of the topic's retention.
    pub segment_bytes: u64,
    /// Maximum number of bytes of all topics on the disk. Above four fifths, messages that every group has consumed are dropped before
    /// their retention ends. Above nine tenths, frames are refused ([`BusError::DiskFull`](crate::BusError::DiskFull)); the last tenth
    /// is for results and alerts of frames that were accepted.
    pub disk_limit: u64,
    /// Maximum number of unacknowledged messages of a topic.
    pub max_queue_messages: usize,
    /// Maximum number of unacknowledged bytes of a topic.
    pub max_queue_bytes: usize,
    /// Bytes of a topic's newest messages that are kept in memory, so that consumers close to the end do not read the disk.
    pub memory_bytes: usize,
}

impl Options {
    /// The options of a topic. Only whole segments are dropped, so a topic with a limit has segments of an eighth of it at most.
    pub(super) fn for_topic(self, topic: &Topic) -> Self {
        let segment_bytes = max_bytes(topic).map_or(self.segment_bytes, |limit| self.segment_bytes.min(limit / 8));
        Self { segment_bytes, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: BusSync::Process,
            segment_bytes: 64 << 20,
            disk_limit: 20 << 30,
            max_queue_messages: 16_384,
            max_queue_bytes: 64 << 20,
            memory_bytes: 16 << 20,
        }
    }
}
