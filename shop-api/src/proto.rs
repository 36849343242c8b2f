//! The types and services of the protos, as `build.rs` generates them.
//!
//! In: `crates/contracts/proto`. Out: messages, traits of services, clients for tests, the descriptors, and the table of methods.

use jiff::Timestamp;

/// Declares a module with generated code.
macro_rules! generated {
    ($(#[$doc:meta])* $module:ident, $file:literal) => {
        $(#[$doc])*
        pub mod $module {
            #![allow(warnings, clippy::all, clippy::pedantic, reason = "generated code")]
            include!(concat!(env!("OUT_DIR"), "/", $file));
        }
    };
}

generated!(
    /// Accounts.
    auth_v1,
    "auth.v1.rs"
);
generated!(
    /// The shop.
    shop_v1,
    "shop.v1.rs"
);
generated!(
    /// Options of methods.
    options,
    "sightline.rs"
);

pub use options::Access;

/// The descriptors of all protos and of what they import, with our options.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));

/// Every method of our services.
pub const METHODS: &[Method] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// A method of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Full name of the service.
    pub service: &'static str,
    /// The path of its calls.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether the client sends a stream.
    pub client_streaming: bool,
    /// Whether the client receives a stream.
    pub server_streaming: bool,
}

impl Method {
    /// Whether a call is one message each way, so that its time can be limited.
    pub const fn is_unary(&self) -> bool {
        !self.client_streaming && !self.server_streaming
    }
}

/// A time as the protos have it.
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let nanos = time.as_nanosecond();
    // Both fit: the range of `Timestamp` is the years -9999 to 9999, and a remainder is below a billion.
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default();
    let nanos = i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default();
    prost_types::Timestamp { seconds, nanos }
}

/// A time of the protos; `None` if there is no such time.
pub fn time(timestamp: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(timestamp.seconds, timestamp.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_same_after_the_wire() {
        for text in ["2026-01-02T03:04:05.678Z", "1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z"] {
            let sent: Timestamp = text.parse().unwrap();
            assert!(timestamp(sent).nanos >= 0, "{text}");
            assert_eq!(time(&timestamp(sent)), Some(sent), "{text}");
        }
        assert_eq!(time(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), None);
    }

    #[test]
    fn every_method_says_who_may_call_it() {
        let unsaid: Vec<_> = METHODS.iter().filter(|method| method.access == Access::Unspecified).collect();
        assert!(unsaid.is_empty() && METHODS.len() > 40, "{unsaid:?}");
    }
}
