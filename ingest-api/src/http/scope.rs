//! The scopes that handlers demand, as types for [`Authorized`](crate::http::auth::Authorized).
//!
//! The scopes themselves are `accounts::Right`. A scope that only one resource uses may be declared in the resource's file.

use accounts::Right;

/// A scope as a type.
pub trait Scope: Send + 'static {
    /// What the credential must allow.
    const RIGHT: Right;
    /// What the client is told that its token does not allow: "the token does not allow …".
    const ACTION: &'static str;
}

/// `frames:write`
pub struct FramesWrite;

impl Scope for FramesWrite {
    const RIGHT: Right = Right::FramesWrite;
    const ACTION: &'static str = "sending";
}

/// `detections:read`
pub struct DetectionsRead;

impl Scope for DetectionsRead {
    const RIGHT: Right = Right::DetectionsRead;
    const ACTION: &'static str = "reading";
}

/// `alerts:read`
pub struct AlertsRead;

impl Scope for AlertsRead {
    const RIGHT: Right = Right::AlertsRead;
    const ACTION: &'static str = "reading alerts";
}

/// `rules:write`
pub struct RulesWrite;

impl Scope for RulesWrite {
    const RIGHT: Right = Right::RulesWrite;
    const ACTION: &'static str = "changing rules";
}

/// `admin`
pub struct Admin;

impl Scope for Admin {
    const RIGHT: Right = Right::Admin;
    const ACTION: &'static str = "managing users";
}
