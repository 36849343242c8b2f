//! What the handler arguments of this crate need.

use accounts::Accounts;

use crate::upload::{BodyLimits, BytesInFlight};

/// The state of a service's handlers.
pub trait ApiState: Clone + Send + Sync + 'static {
    /// Authenticates callers and counts their requests.
    fn accounts(&self) -> &dyn Accounts;

    /// The bytes of request bodies in memory.
    fn bytes_in_flight(&self) -> &BytesInFlight;

    /// Limits of a JSON body.
    fn json_limits(&self) -> BodyLimits;
}
