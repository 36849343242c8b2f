//! Settings of the OpenID provider by whose word users may sign in. Only texts: what they mean is the business of `ingest-api`.

use std::path::PathBuf;

use clap::Args;

use super::Secret;

/// The provider, and what this system is to it.
#[derive(Debug, Clone, Default, Args)]
pub struct OpenIdArgs {
    /// OpenID provider by whose word users may sign in, such as `https://accounts.google.com`
    #[arg(long, env = "SIGHTLINE_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<String>,

    /// What this system is called there
    #[arg(long, env = "SIGHTLINE_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,

    /// What this system proves it with; none for a public client
    #[arg(long, env = "SIGHTLINE_OIDC_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub oidc_client_secret: Option<Secret>,

    /// Other clients there, such as mobile apps, whose ID tokens count too, comma-separated
    #[arg(long, env = "SIGHTLINE_OIDC_AUDIENCES", value_delimiter = ',', value_name = "IDS")]
    pub oidc_audiences: Vec<String>,

    /// What the provider is asked for, separated by blanks
    #[arg(long, env = "SIGHTLINE_OIDC_SCOPES", default_value = "openid email profile", value_name = "SCOPES")]
    pub oidc_scopes: String,

    /// Where the provider sends browsers back to; /v1/oidc/callback below SIGHTLINE_TOKEN_ISSUER when not set
    #[arg(long, env = "SIGHTLINE_OIDC_CALLBACK_URL", value_name = "URL")]
    pub oidc_callback_url: Option<String>,

    /// Pages of yours that may be given the tokens of a sign-in, behind a #, comma-separated
    #[arg(long, env = "SIGHTLINE_OIDC_RETURN_URLS", value_delimiter = ',', value_name = "URLS")]
    pub oidc_return_urls: Vec<String>,

    /// Authority that the provider's certificate comes from, besides the usual ones, PEM
    #[arg(long, env = "SIGHTLINE_OIDC_CA", value_name = "FILE")]
    pub oidc_ca: Option<PathBuf>,
}
