//! The scopes that handlers demand, as types for [`Authorized`](crate::http::auth::Authorized).
//!
//! The scopes themselves are `accounts::Scope`. A scope that only one resource uses may be declared in the resource's file.

use accounts::Scope;

/// A scope as a type.
pub trait RequiredScope: Send + 'static {
    /// What the credential must allow.
    const SCOPE: Scope;
    /// The end of the error message "the token does not allow …".
    const ACTION: &'static str;
}

/// `frames:write`
pub struct FramesWrite;

impl RequiredScope for FramesWrite {
    const SCOPE: Scope = Scope::FramesWrite;
    const ACTION: &'static str = "sending";
}

/// `detections:read`
pub struct DetectionsRead;

impl RequiredScope for DetectionsRead {
    const SCOPE: Scope = Scope::DetectionsRead;
    const ACTION: &'static str = "reading";
}

/// `alerts:read`
pub struct AlertsRead;

impl RequiredScope for AlertsRead {
    const SCOPE: Scope = Scope::AlertsRead;
    const ACTION: &'static str = "reading alerts";
}

/// `rules:write`
pub struct RulesWrite;

impl RequiredScope for RulesWrite {
    const SCOPE: Scope = Scope::RulesWrite;
    const ACTION: &'static str = "changing rules";
}

/// `admin`
pub struct Admin;

impl RequiredScope for Admin {
    const SCOPE: Scope = Scope::Admin;
    const ACTION: &'static str = "managing users";
}
