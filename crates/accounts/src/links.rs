//! Signed links: JSON Web Tokens in an address, with which their holder reads or writes one file for a user.
//!
//! In: a user and what the link allows, which the caller defines. Out: a text for an address, and later the same facts again.
//! Guarantees: any instance verifies a link without a query; a link ends with its time, and within a second when its user is
//! disabled, deleted or signed out everywhere. A link is no access token and an access token is no link: their types differ.

use std::sync::Arc;
use std::time::Duration;

use contracts::UserId;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::relational::{RevocationKind, UserRecord};

use crate::AccessError;
use crate::access_tokens::LEEWAY;
use crate::error::AccountError;
use crate::secret_text::SecretText;
use crate::service::AccountsService;

/// Longest link that is parsed, in bytes. An issued one has about 500.
const MAX_LENGTH: usize = 2_048;
/// Header `typ` of a link.
const TYPE: &str = "link+jwt";
/// Validity of the link that is valid longest.
pub(crate) const LONGEST_LIFE: Duration = LinkKind::Upload.life();

/// What a link is for. A link of one kind is refused as one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// Reads a file.
    Media,
    /// Writes a file.
    Upload,
}

impl LinkKind {
    /// `aud` of the link.
    const fn audience(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Upload => "upload",
        }
    }

    /// Validity of a link.
    pub const fn life(self) -> Duration {
        match self {
            Self::Media => Duration::from_secs(10 * 60),
            // A large file over a slow line, with pauses.
            Self::Upload => Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A link that was verified.
#[derive(Debug, Clone)]
pub struct VerifiedLink<G> {
    /// The user for whom it was signed, who is not disabled.
    pub user: Arc<UserRecord>,
    /// What it allows.
    pub grant: G,
    /// The end of its validity.
    pub expires_at: Timestamp,
}

/// The claims of a link.
#[derive(Serialize, Deserialize)]
struct Claims<G> {
    iss: String,
    aud: String,
    sub: UserId,
    iat: i64,
    exp: i64,
    /// As in an access token: a later revocation of all of the user's credentials ends the link.
    #[serde(rename = "rev")]
    revocation_sequence: i64,
    grant: G,
}

impl AccountsService {
    /// Signs a link for a user. Returns it with the end of its validity.
    ///
    /// # Errors
    /// `NotFound` without such a user, `Disabled` when it is disabled.
    pub async fn sign_link<G: Serialize + Sync>(
        &self,
        kind: LinkKind,
        user: UserId,
        grant: &G,
    ) -> Result<(SecretText, Timestamp), AccountError> {
        // The number first: a revocation in between ends the link.
        let revocation_sequence = self.store.last_revocation().await?;
        if self.user(user).await?.disabled {
            return Err(AccountError::Disabled);
        }
        let now = self.clock.now();
        let expires_at = now + kind.life();
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: kind.audience().to_owned(),
            sub: user,
            iat: now.as_second(),
            exp: expires_at.as_second(),
            revocation_sequence,
            grant,
        };
        let keys = self.signing_keys.now();
        let key = keys.at(now).ok_or_else(|| AccountError::Unavailable("there is no signing key".to_owned()))?;
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let link = jsonwebtoken::encode(&header, &claims, &key.key)
            .map_err(|error| AccountError::Internal(format!("cannot sign a link: {error}")))?;
        Ok((SecretText::new(link), expires_at))
    }

    /// What a link allows, and for whom.
    ///
    /// # Errors
    /// `InvalidCredential` for one that is forged, expired or revoked, or of another kind.
    pub async fn verify_link<G: DeserializeOwned + Send>(
        &self,
        kind: LinkKind,
        link: &str,
    ) -> Result<VerifiedLink<G>, AccessError> {
        let claims: Claims<G> = self.link_claims(kind, link).ok_or(AccessError::InvalidCredential)?;
        let verifier = &self.verifier;
        verifier.revocations.check_fresh(verifier.settings.revocations_stale_after)?;
        if verifier.revocations.has_since(RevocationKind::User, claims.sub.uuid(), claims.revocation_sequence) {
            return Err(AccessError::InvalidCredential);
        }
        let user = verifier.active_user(claims.sub).await?;
        let expires_at = Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MIN);
        Ok(VerifiedLink { user, grant: claims.grant, expires_at })
    }

    /// The claims of a link that one of our keys signed and that has not expired.
    fn link_claims<G: DeserializeOwned>(&self, kind: LinkKind, link: &str) -> Option<Claims<G>> {
        if link.len() > MAX_LENGTH {
            return None;
        }
        let header = jsonwebtoken::decode_header(link).ok()?;
        let is_ours = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TYPE);
        let (keys, now) = (self.verifier.keys.now(), self.clock.now());
        let key = keys.find(header.kid.as_deref().filter(|_| is_ours)?, now)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[kind.audience()]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // By the accounts' own clock, below.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims<G>>(link, &key.key, &validation).ok()?.claims;
        let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or_default();
        let now = now.as_second();
        (claims.exp > now && claims.iat <= now + leeway).then_some(claims)
    }
}
