//! Marker types for the scopes that handlers require, used as `Authorized<FramesWrite>`
//! (see [`Authorized`](crate::auth::Authorized)).
//!
//! Each maps to a variant of `accounts::Scope`. A type that only one resource uses may be in the resource's file.

use accounts::Scope;

/// The scope that a handler requires.
pub trait RequiredScope: Send + 'static {
    /// The credential must have this scope; otherwise the client gets 403.
    const SCOPE: Scope;
}

/// `frames:write`
pub struct FramesWrite;

impl RequiredScope for FramesWrite {
    const SCOPE: Scope = Scope::FramesWrite;
}

/// `detections:read`
pub struct DetectionsRead;

impl RequiredScope for DetectionsRead {
    const SCOPE: Scope = Scope::DetectionsRead;
}

/// `alerts:read`
pub struct AlertsRead;

impl RequiredScope for AlertsRead {
    const SCOPE: Scope = Scope::AlertsRead;
}

/// `rules:write`
pub struct RulesWrite;

impl RequiredScope for RulesWrite {
    const SCOPE: Scope = Scope::RulesWrite;
}

/// `faces:write`
pub struct FacesWrite;

impl RequiredScope for FacesWrite {
    const SCOPE: Scope = Scope::FacesWrite;
}

/// `faces:read`
pub struct FacesRead;

impl RequiredScope for FacesRead {
    const SCOPE: Scope = Scope::FacesRead;
}

/// `admin`
pub struct Admin;

impl RequiredScope for Admin {
    const SCOPE: Scope = Scope::Admin;
}
