//! Settings of the OpenID provider through which users may sign in.

use std::path::PathBuf;

use clap::Args;
use settings::Secret;

/// The provider, and this system as its client.
#[derive(Debug, Clone, Default, Args)]
pub struct OpenIdArgs {
    /// OpenID provider through which users may sign in, such as `https://accounts.google.com`
    #[arg(long, env = "SIGHTLINE_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<String>,

    /// Client id of this system at the provider
    #[arg(long, env = "SIGHTLINE_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,

    /// Client secret of this system at the provider; not set for a public client
    #[arg(long, env = "SIGHTLINE_OIDC_CLIENT_SECRET", value_name = "SECRET")]
    pub oidc_client_secret: Option<Secret>,

    /// Further client ids whose ID tokens are accepted, such as those of mobile apps, comma-separated
    #[arg(long, env = "SIGHTLINE_OIDC_AUDIENCES", value_delimiter = ',', value_name = "IDS")]
    pub oidc_audiences: Vec<String>,

    /// Scopes to request from the provider, separated by blanks
    #[arg(long, env = "SIGHTLINE_OIDC_SCOPES", default_value = "openid email profile", value_name = "SCOPES")]
    pub oidc_scopes: String,

    /// Redirect URI that the provider sends browsers to; /v1/oidc/callback below SIGHTLINE_TOKEN_ISSUER when not set
    #[arg(long, env = "SIGHTLINE_OIDC_CALLBACK_URL", value_name = "URL")]
    pub oidc_callback_url: Option<String>,

    /// Pages of yours that may receive the tokens of a sign-in, behind a #, comma-separated
    #[arg(long, env = "SIGHTLINE_OIDC_RETURN_URLS", value_delimiter = ',', value_name = "URLS")]
    pub oidc_return_urls: Vec<String>,

    /// Certificate authority of the provider, in addition to the public ones; PEM file
    #[arg(long, env = "SIGHTLINE_OIDC_CA", value_name = "FILE")]
    pub oidc_ca: Option<PathBuf>,
}
