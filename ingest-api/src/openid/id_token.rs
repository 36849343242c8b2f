//! Verifies ID tokens and reads the user from them.
//!
//! The library checks issuer, signature, expiry and nonce (OpenID Connect Core, 3.1.3.7). Here are the checks that depend on the
//! installation: which clients' tokens are accepted, and how far clocks may differ.

use std::collections::HashSet;
use std::str::FromStr;

use jiff::Timestamp;
use openidconnect::core::{
    CoreGenderClaim, CoreIdTokenVerifier, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AccessToken, AccessTokenHash, AdditionalClaims, ClaimsVerificationError, ClientId, EndUserEmail, EndUserName,
    IdToken, IdTokenClaims, LocalizedClaim, Nonce, SignatureVerificationError,
};
use serde::{Deserialize, Serialize};

use super::discovery::Metadata;

/// Longest token, in bytes: with a user's groups it has some kilobytes.
const MAX_LENGTH: usize = 16 << 10;
/// Longest `sub`, in bytes.
const MAX_SUBJECT: usize = 255;
/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// How far the provider's clock may be ahead, in seconds.
const MAX_CLOCK_SKEW: i64 = 60;

/// Asymmetric algorithms only. With a shared secret, everyone with the client secret could sign tokens.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Why an ID token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// No valid JWT.
    #[error("id_token: not an ID token")]
    NotAToken,
    /// Signed with a key that the provider does not publish.
    #[error("id_token: it is not signed with a key of the provider")]
    UnknownKey,
    /// The signature does not match, or its algorithm is not allowed.
    #[error("id_token: its signature is wrong, or its algorithm is not accepted")]
    Signature,
    /// Another issuer.
    #[error("id_token: another provider issued it")]
    Issuer,
    /// Another audience.
    #[error(
        "id_token: it was issued for another client (SIGHTLINE_OIDC_CLIENT_ID and _AUDIENCES name the accepted ones)"
    )]
    Audience,
    /// Expired, or not valid yet.
    #[error("id_token: it has expired or is not valid yet; sign in with the provider again")]
    Time,
    /// Another nonce.
    #[error("nonce: the ID token has another one")]
    Nonce,
    /// The hash is that of another access token.
    #[error("id_token: it does not belong to the access token of the same response")]
    AccessToken,
}

/// A user of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUser {
    /// `sub`
    pub subject: String,
    /// The e-mail address, if the provider has verified it.
    pub email: Option<String>,
    /// The full name.
    pub full_name: Option<String>,
}

/// What the token must belong to.
pub struct TokenBinding<'a> {
    /// The nonce of the sign-in.
    pub nonce: Option<&'a str>,
    /// The access token of the same answer.
    pub access_token: Option<&'a AccessToken>,
}

/// Claims that the library does not read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ExtraClaims {
    nbf: Option<f64>,
}

impl AdditionalClaims for ExtraClaims {}

type Token = IdToken<ExtraClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Claims = IdTokenClaims<ExtraClaims, CoreGenderClaim>;

/// Verifies ID tokens.
#[derive(Debug, Clone)]
pub struct IdTokenVerifier {
    client_id: String,
    /// The clients whose tokens are accepted.
    clients: HashSet<String>,
}

impl IdTokenVerifier {
    /// Accepts tokens of this client and of `others`.
    pub fn new(client_id: &str, others: impl IntoIterator<Item = String>) -> Self {
        let clients = others.into_iter().chain([client_id.to_owned()]).collect();
        Self { client_id: client_id.to_owned(), clients }
    }

    /// Accepts tokens of this client alone, as in a flow that it began.
    pub fn for_own_client(&self) -> Self {
        Self::new(&self.client_id, [])
    }

    /// The user of a token.
    pub fn verify(
        &self,
        token: &str,
        binding: &TokenBinding<'_>,
        provider: &Metadata,
    ) -> Result<ProviderUser, IdTokenError> {
        if token.len() > MAX_LENGTH {
            return Err(IdTokenError::NotAToken);
        }
        let token = Token::from_str(token).map_err(|_| IdTokenError::NotAToken)?;
        let now = Timestamp::now().as_second();
        let verifier = verifier(&self.client_id, provider, now);
        let claims = match binding.nonce {
            Some(nonce) => token.claims(&verifier, &Nonce::new(nonce.to_owned())),
            None => token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
        };
        let claims = claims.map_err(|error| from_library(&error))?;
        let too_early = claims.additional_claims().nbf.is_some_and(|nbf| nbf > (now + MAX_CLOCK_SKEW) as f64);
        if too_early {
            return Err(IdTokenError::Time);
        }
        self.check_audience(claims)?;
        if let (Some(given), Some(access_token)) = (claims.access_token_hash(), binding.access_token) {
            check_access_token_hash(&token, &verifier, access_token, given)?;
        }
        user(claims)
    }

    /// All audiences and the authorised party must be accepted clients.
    fn check_audience(&self, claims: &Claims) -> Result<(), IdTokenError> {
        let audiences = claims.audiences();
        let accepted = audiences.iter().all(|audience| self.clients.contains(audience.as_str()));
        let party_accepted = match claims.authorized_party() {
            Some(party) => self.clients.contains(party.as_str()),
            None => audiences.len() == 1,
        };
        if !audiences.is_empty() && accepted && party_accepted { Ok(()) } else { Err(IdTokenError::Audience) }
    }
}

fn verifier(client_id: &str, provider: &Metadata, now: i64) -> CoreIdTokenVerifier<'static> {
    let (client_id, issuer) = (ClientId::new(client_id.to_owned()), provider.issuer().clone());
    CoreIdTokenVerifier::new_public_client(client_id, issuer, provider.jwks().clone())
        .set_allowed_algs(ALGORITHMS)
        // The library checks for one client; `check_audience` checks for all.
        .require_audience_match(false)
        .set_issue_time_verifier_fn(move |issued| {
            if issued.timestamp() <= now + MAX_CLOCK_SKEW { Ok(()) } else { Err("issued in the future".to_owned()) }
        })
}

fn check_access_token_hash(
    token: &Token,
    verifier: &CoreIdTokenVerifier<'_>,
    access_token: &AccessToken,
    given: &AccessTokenHash,
) -> Result<(), IdTokenError> {
    let algorithm = token.signing_alg().map_err(|_| IdTokenError::Signature)?;
    let key: &CoreJsonWebKey = token.signing_key(verifier).map_err(|_| IdTokenError::Signature)?;
    let expected = AccessTokenHash::from_token(access_token, algorithm, key).map_err(|_| IdTokenError::AccessToken)?;
    if expected == *given { Ok(()) } else { Err(IdTokenError::AccessToken) }
}

fn from_library(error: &ClaimsVerificationError) -> IdTokenError {
    match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            IdTokenError::UnknownKey
        }
        ClaimsVerificationError::SignatureVerification(_) => IdTokenError::Signature,
        ClaimsVerificationError::InvalidIssuer(_) => IdTokenError::Issuer,
        ClaimsVerificationError::Expired(_) => IdTokenError::Time,
        ClaimsVerificationError::InvalidNonce(_) => IdTokenError::Nonce,
        _ => IdTokenError::NotAToken,
    }
}

fn user(claims: &Claims) -> Result<ProviderUser, IdTokenError> {
    let subject = claims.subject().as_str();
    if !(1..=MAX_SUBJECT).contains(&subject.len()) || subject.chars().any(char::is_control) {
        return Err(IdTokenError::NotAToken);
    }
    let user = ProviderUser { subject: subject.to_owned(), email: None, full_name: None };
    Ok(user.with_claims(claims.email(), claims.email_verified(), claims.name()))
}

impl ProviderUser {
    /// Adds e-mail address and name.
    pub fn with_claims(
        self,
        email: Option<&EndUserEmail>,
        email_verified: Option<bool>,
        name: Option<&LocalizedClaim<EndUserName>>,
    ) -> Self {
        let email = email.filter(|_| email_verified == Some(true)).map(|email| email.as_str().to_owned());
        let name = name.and_then(|name| name.get(None));
        let name = name.map(|name| name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect::<String>());
        Self { email: email.or(self.email), full_name: name.filter(|name| !name.is_empty()).or(self.full_name), ..self }
    }
}
