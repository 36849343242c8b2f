//! Routes about users, their credentials and signing in.

pub mod oauth_error;
pub mod tokens;
pub mod users;

mod admin_users;
mod api_tokens;
mod identities;
mod oidc;
mod passwords;
mod sessions;

use crate::http::Routes;

/// The routes of this folder.
pub fn routes() -> Routes {
    users::routes()
        .merge(identities::routes())
        .merge(passwords::routes())
        .merge(sessions::routes())
        .merge(admin_users::routes())
        .merge(tokens::routes())
        .merge(oidc::routes())
        .merge(api_tokens::routes())
}
