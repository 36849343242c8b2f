//! The caller behind a request.

use contracts::TenantId;

/// Something a credential allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Send frames and detections.
    Write,
    /// Read frames, detections, statistics and alerts.
    Read,
    /// Change rules.
    Rules,
}

/// Who makes a request, and what the credential allows. Handlers take it as an argument: without one there is no tenant to
/// act for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose data it writes.
    pub tenant: TenantId,
    /// Whether it reads everybody's data.
    pub sees_all: bool,
    /// What the credential allows.
    pub rights: Vec<Right>,
    /// Most requests a second; none without a limit.
    pub rate_limit: Option<u32>,
    /// When the credential ends, if it does: a stream opened with it closes then.
    pub valid_until: Option<std::time::SystemTime>,
}

impl Caller {
    /// Whether the credential allows this.
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}
