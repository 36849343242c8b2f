//! Who asks, for the routes about accounts: a user, the owner of an account, an admin; and from where.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use accounts::{By, Caller, Origin, Right};
use axum::extract::{ConnectInfo, FromRequestParts};
use contracts::UserId;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use platform::config::Network;
use store::relational::Role;

use crate::app::App;
use crate::http::ApiError;
use crate::http::extract::{admitted, allowed};

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Most hops that are looked at.
const MAX_HOPS: usize = 16;

/// A user, by whatever credential. The operator's own token stands for the operator's user.
pub struct Me {
    /// Which user.
    pub id: UserId,
    /// What its credential allows; its `user` is always set.
    pub caller: Caller,
}

/// A user that may change its account: by the operator's token, or signed in and with everything that a user is allowed. A
/// program's token must not be good for making others, or for taking over the account by another address.
pub struct Owner(pub Me);

/// A caller who manages users.
pub struct Admin(pub Caller);

/// Where a request comes from.
pub struct Whence(pub Origin);

impl Owner {
    /// Who does something, for the audit log.
    pub fn by(&self, origin: &Origin) -> By {
        By { user: Some(self.0.id), address: Some(origin.address) }
    }
}

impl Admin {
    /// Who does something, for the audit log.
    pub fn by(&self, origin: &Origin) -> By {
        By { user: self.0.user, address: Some(origin.address) }
    }
}

/// Which user a caller is. What the operator does by its own token is done by the operator's user.
async fn user_of(caller: &Caller, app: &App) -> Result<UserId, ApiError> {
    match caller.user {
        Some(id) => Ok(id),
        None => Ok(app.directory.users.operator().await?.id),
    }
}

async fn named(caller: Caller, app: &App) -> Result<Caller, ApiError> {
    Ok(Caller { user: Some(user_of(&caller, app).await?), ..caller })
}

impl FromRequestParts<App> for Me {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = admitted(parts, app).await?;
        let id = user_of(&caller, app).await?;
        Ok(Self { id, caller: Caller { user: Some(id), ..caller } })
    }
}

impl FromRequestParts<App> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = admitted(parts, app).await?;
        let whole = Right::of(Role::User).iter().all(|right| caller.may(*right));
        let id = match caller.user {
            None => app.directory.users.operator().await?.id,
            Some(id) if whole && caller.session.is_some() => id,
            Some(_) => {
                return Err(ApiError::Forbidden("changing an account, which takes a sign-in without narrower scopes"));
            }
        };
        Ok(Self(Me { id, caller: Caller { user: Some(id), ..caller } }))
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = allowed(parts, app, Right::Admin, "managing users").await?;
        named(caller, app).await.map(Self)
    }
}

/// An admin, or anybody who shows no credential.
pub struct AdminOrStranger(pub Option<Caller>);

impl FromRequestParts<App> for AdminOrStranger {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Self(None));
        }
        let caller = admitted(parts, app).await?;
        if !caller.may(Right::Admin) {
            return Ok(Self(None));
        }
        named(caller, app).await.map(Some).map(Self)
    }
}

impl FromRequestParts<App> for Whence {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        // Without a connection, as in a test of one request, it is this machine.
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(address)| address.ip().to_canonical());
        let address = beyond(peer, &parts.headers, &app.config.accounts.trusted_proxies);
        let client = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self(Origin { address, client }))
    }
}

/// The address beyond the proxies that are trusted: what the last of them says, as long as it is another one of them. What
/// comes before that, anybody may have written.
fn beyond(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    // As bytes: what a stranger wrote in front need not be text, and what the proxy added to it is.
    let lines = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let hops: Vec<&[u8]> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
    let mut nearest = peer;
    for hop in hops.into_iter().rev().take(MAX_HOPS) {
        let Some(address) = address_in(hop) else { break };
        nearest = address.to_canonical();
        if !is_trusted(nearest) {
            break;
        }
    }
    nearest
}

/// An address as proxies write it: some with the port.
fn address_in(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_say_of_an_address_counts() {
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        let told = |peer: &str, lines: &[&str]| {
            let value = |line: &str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
            let lines = lines.iter().map(|line| (FORWARDED_FOR.parse().unwrap(), value(line)));
            let headers: HeaderMap = lines.collect();
            beyond(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(told("203.0.113.9", &["1.2.3.4"]), "203.0.113.9", "a stranger says what it likes");
        assert_eq!(told("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(told("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["1.2.3.4", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["1.2.3.4, garbage, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(told("10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(told("10.0.0.1", &["ü, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
    }
}
