//! How the embedded log is kept.

use std::fmt;
use std::str::FromStr;

/// What an acknowledgement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusSync {
    /// The end of the process, kill -9 included. After a loss of power the newest messages may be gone, never torn ones there.
    #[default]
    Process,
    /// Also the loss of power: the disk is waited for before every acknowledgement.
    Full,
}

impl BusSync {
    /// As SQLite's pragma `synchronous` spells it.
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
    /// What an acknowledgement survives.
    pub sync: BusSync,
    /// A segment is closed and the next begun when it has this many bytes. It is also closed by age, an eighth of the topic's
    /// retention.
    pub segment_bytes: u64,
    /// Bytes that all topics together may take on the disk. Over four fifths of it, what every group of a topic has consumed is
    /// dropped before its retention ends; over nine tenths, frames are refused ([`BusError::DiskFull`](crate::BusError::DiskFull)),
    /// and the last tenth is for what follows from those that were taken.
    pub disk_limit: u64,
    /// Messages of one topic that may wait for their acknowledgement.
    pub max_queue_messages: usize,
    /// Bytes of one topic that may wait for their acknowledgement.
    pub max_queue_bytes: usize,
    /// Bytes of the newest messages of one topic that are kept in memory, so that who reads close behind does not read the disk.
    pub memory_bytes: usize,
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
