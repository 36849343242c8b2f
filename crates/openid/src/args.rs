//! Settings of the OpenID provider through which users may sign in.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use platform::pem_files::trust;
use reqwest::{Client, ClientBuilder, Url};
use settings::{Secret, SettingErrors};

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

    /// Scopes to request from the provider, separated by spaces
    #[arg(long, env = "SIGHTLINE_OIDC_SCOPES", default_value = "openid email profile", value_name = "SCOPES")]
    pub oidc_scopes: String,

    /// Redirect URI that the provider sends browsers to; /v1/oidc/callback below SIGHTLINE_TOKEN_ISSUER when not set
    #[arg(long, env = "SIGHTLINE_OIDC_CALLBACK_URL", value_name = "URL")]
    pub oidc_callback_url: Option<String>,

    /// URLs of your pages that may receive the tokens of a sign-in, in the fragment (#); comma-separated
    #[arg(long, env = "SIGHTLINE_OIDC_RETURN_URLS", value_delimiter = ',', value_name = "URLS")]
    pub oidc_return_urls: Vec<String>,

    /// Certificate authority of the provider, in addition to the public ones; PEM file
    #[arg(long, env = "SIGHTLINE_OIDC_CA", value_name = "FILE")]
    pub oidc_ca: Option<PathBuf>,
}

impl OpenIdArgs {
    /// Checks the values against each other, and reads the file that they name. `public_url` is the address of this system.
    pub fn check(&self, public_url: &str, errors: &mut SettingErrors) {
        let issuer = match (&self.oidc_issuer, &self.oidc_client_id) {
            (Some(issuer), Some(_)) => issuer,
            (None, None) => {
                errors.ensure(self.oidc_client_secret.is_none(), || {
                    "SIGHTLINE_OIDC_CLIENT_SECRET is set but not SIGHTLINE_OIDC_ISSUER; set both or none".to_owned()
                });
                return;
            }
            _ => {
                errors.add("SIGHTLINE_OIDC_ISSUER and SIGHTLINE_OIDC_CLIENT_ID belong together; set both or none");
                return;
            }
        };
        errors.collect(issuer_url(issuer));
        errors.collect(secure_url(
            "SIGHTLINE_OIDC_CALLBACK_URL, or else SIGHTLINE_TOKEN_ISSUER,",
            &self.callback_url(public_url),
        ));
        for url in self.return_urls() {
            errors.collect(url);
        }
        errors.collect(self.trust_authority(Client::builder()));
    }

    /// The redirect URI.
    pub(crate) fn callback_url(&self, public_url: &str) -> String {
        let default = || format!("{}/v1/oidc/callback", public_url.trim_end_matches('/'));
        self.oidc_callback_url.clone().unwrap_or_else(default)
    }

    /// The pages that may receive tokens.
    pub(crate) fn return_urls(&self) -> impl Iterator<Item = anyhow::Result<Url>> {
        let urls = self.oidc_return_urls.iter().filter(|url| !url.is_empty());
        urls.map(|url| secure_url("SIGHTLINE_OIDC_RETURN_URLS", url))
    }

    /// Adds the provider's certificate authority to `client`, if there is one.
    pub(crate) fn trust_authority(&self, client: ClientBuilder) -> anyhow::Result<ClientBuilder> {
        match &self.oidc_ca {
            Some(path) => trust(client, path, "SIGHTLINE_OIDC_CA"),
            None => Ok(client),
        }
    }
}

/// The issuer's URL.
pub(crate) fn issuer_url(issuer: &str) -> anyhow::Result<Url> {
    let url = secure_url("SIGHTLINE_OIDC_ISSUER", issuer)?;
    ensure!(url.query().is_none(), "SIGHTLINE_OIDC_ISSUER must be without a ?");
    Ok(url)
}

/// A URL with TLS; without TLS only one of this machine.
fn secure_url(key: &str, address: &str) -> anyhow::Result<Url> {
    let wrong =
        || format!("{key} must be an address that begins with https:// (http:// on this machine only), without a #");
    let url: Url = address.trim().parse().with_context(wrong)?;
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
    ensure!(is_safe && url.fragment().is_none(), wrong());
    Ok(url)
}
