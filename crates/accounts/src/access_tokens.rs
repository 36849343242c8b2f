//! Access tokens: JSON Web Tokens (RFC 9068), signed with Ed25519 and verified with the published keys.

use std::time::Duration;

use contracts::{SessionId, TenantId, UserId};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use store::relational::{Role, UserRecord};
use uuid::Uuid;

use crate::caller::Scope;
use crate::error::AccountError;
use crate::secret_text::SecretText;
use crate::settings::{Settings, VerifierSettings};
use crate::signing_keys::SigningKeyring;
use crate::verifying_keys::VerifyingKeyring;

/// Maximum clock skew between instances.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);
/// Longest token that is parsed, in bytes. An issued one has about 600.
const MAX_LENGTH: usize = 4_096;
/// Header `typ` of an access token (RFC 9068, 2.1). Other tokens that the same keys might sign, such as ID tokens, have another type.
const TYPE: &str = "at+jwt";

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    pub sub: UserId,
    /// RFC 9068 requires the claim. There are no registered clients, so it repeats the audience.
    client_id: String,
    pub sid: SessionId,
    pub jti: Uuid,
    pub iat: i64,
    nbf: i64,
    pub exp: i64,
    scope: String,
    /// Whether the sign-in asked for fewer scopes than every user had then; `None` in a token of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    narrowed: Option<bool>,
    pub tenant: TenantId,
    role: String,
    /// Sequence number of the last revocation that the issuer had read. A revocation of all of a user's tokens with a higher
    /// number revokes this one. A time would not be exact enough: claims have whole seconds, and clocks differ.
    #[serde(rename = "rev")]
    pub revocation_sequence: i64,
}

impl Claims {
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        Scope::parse_known(&self.scope)
    }

    /// Whether the sign-in asked for fewer scopes than every user had then. A token of an older version is compared with the
    /// scopes of today.
    pub(crate) fn is_narrowed(&self) -> bool {
        self.narrowed.unwrap_or_else(|| Scope::is_narrowed(&self.scopes()))
    }

    /// `exp`; the earliest time when it is out of range.
    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MIN)
    }
}

/// User, session and scopes of a new access token.
pub(crate) struct TokenSubject<'a> {
    pub user: &'a UserRecord,
    pub session: SessionId,
    pub scopes: &'a [Scope],
    pub narrowed: bool,
    pub revocation_sequence: i64,
}

/// The end of the validity of an access token that is issued now, in whole seconds as in the token.
pub(crate) fn expires_at(settings: &Settings, now: Timestamp) -> Timestamp {
    let second = (now + settings.access_token_life).as_second();
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// Signs an access token.
pub(crate) fn issue(
    keys: &SigningKeyring,
    settings: &Settings,
    about: &TokenSubject<'_>,
    now: Timestamp,
) -> Result<SecretText, AccountError> {
    let iat = now.as_second();
    let claims = Claims {
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        sub: about.user.id,
        client_id: settings.audience.clone(),
        sid: about.session,
        jti: Uuid::new_v4(),
        iat,
        nbf: iat,
        exp: expires_at(settings, now).as_second(),
        scope: Scope::list(about.scopes),
        narrowed: Some(about.narrowed),
        tenant: about.user.tenant.clone(),
        role: Role::name(about.user.role).to_owned(),
        revocation_sequence: about.revocation_sequence,
    };
    let keys = keys.now();
    let key = keys.at(now).ok_or_else(|| AccountError::Unavailable("there is no signing key".to_owned()))?;
    let header = Header { typ: Some(TYPE.to_owned()), kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
    let token = jsonwebtoken::encode(&header, &claims, &key.key);
    token.map(SecretText::new).map_err(|error| AccountError::Internal(format!("cannot sign a token: {error}")))
}

/// The claims of a token that is signed by one of our keys and has not expired. Revocations are not checked here.
pub(crate) fn verify(
    keys: &VerifyingKeyring,
    settings: &VerifierSettings,
    token: &str,
    now: Timestamp,
) -> Option<Claims> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let is_ours = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TYPE);
    let keys = keys.now();
    // The key is found by its id alone. Other header fields about keys, such as `jwk` or `jku`, are ignored.
    let key = keys.find(header.kid.as_deref().filter(|_| is_ours)?, now)?;
    let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &validation(settings)).ok()?.claims;
    let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or_default();
    let now = now.as_second();
    (claims.exp > now && claims.nbf <= now + leeway && claims.iat <= now + leeway).then_some(claims)
}

fn validation(settings: &VerifierSettings) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // `verify` checks it by the accounts' own clock.
    validation.validate_exp = false;
    validation
}

#[cfg(test)]
mod tests;
