//! Signing in with an OpenID provider (OpenID Connect Core 1.0): Google, or any other.
//!
//! ```text
//! browser ──▶ /v1/oidc/login ──▶ provider's pages ──▶ /v1/oidc/callback ──▶ code for tokens ─┐
//!                  └ flow: cookie, state, nonce, PKCE ───────┘                               ├▶ ID token ──▶ identity
//! app ──▶ /v1/oidc/id-token, GoogleSignIn of auth.v1 ────────────────────────────────────────┘   └ discovery: keys
//! ```
//!
//! In: the settings, the redirects of a browser, ID tokens. Out: the identity that the provider verified; `accounts` maps it to a user of
//! this system. Guarantees: an ID token is accepted only when the provider signed it for an accepted client and it has not expired; no
//! claim is read before that is checked. The provider is called only for a sign-in, so a service starts while the provider is
//! down; its metadata is cached for an hour, and up to a day while the provider does not answer. Tokens with unknown keys cause at most
//! one fetch in 30 s. Every call has a time limit and a size limit.

mod args;
mod client;
mod discovery;
mod error;
mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod id_token;
mod provider;

pub use args::OpenIdArgs;
pub use error::{OidcError, OpenIdError};
pub use flow::Flow;
pub use id_token::IdTokenError;
pub use provider::Provider;
