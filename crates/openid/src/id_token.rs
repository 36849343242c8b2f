//! Verifies ID tokens and reads the user from them.
//!
//! The `openidconnect` crate checks issuer, signature, expiry and nonce (OpenID Connect Core, 3.1.3.7). This file adds the checks
//! that depend on settings: the accepted clients (`aud`, `azp`) and the maximum clock skew.

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

use crate::discovery::Metadata;

/// Longest token, in bytes. A token with a user's groups has some kilobytes.
const MAX_LENGTH: usize = 16 << 10;
/// Longest `sub`, in bytes.
const MAX_SUBJECT: usize = 255;
/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// How many seconds the provider's clock may be ahead.
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

/// Why an ID token is rejected. The text is sent to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// Too long, not a signed JWT, or without a usable `sub`.
    #[error("id_token: it is not a valid ID token")]
    Malformed,
    /// Every cause without a variant of its own, in the words of the `openidconnect` crate.
    #[error("id_token: the ID token cannot be accepted: {0}")]
    Rejected(String),
    /// The provider does not publish the key that signed the token.
    #[error("id_token: it is not signed with a key of the provider")]
    UnknownKey,
    /// Another signature than the key's, or an algorithm that is not allowed.
    #[error("id_token: its signature is invalid or its algorithm is not allowed")]
    Signature,
    /// `iss` is not the provider's.
    #[error("id_token: its issuer (iss) does not match the provider")]
    Issuer,
    /// `aud` or `azp` names a client that is not accepted.
    #[error(
        "id_token: it was issued for another client; SIGHTLINE_OIDC_CLIENT_ID and SIGHTLINE_OIDC_AUDIENCES list the accepted \
         clients"
    )]
    Audience,
    /// `exp` has passed, or `nbf` has not.
    #[error("id_token: it has expired or is not valid yet; sign in with the provider again")]
    Time,
    /// The token belongs to another sign-in.
    #[error("nonce: it does not match the nonce of the ID token")]
    Nonce,
    /// The access token of the same response is another one.
    #[error("id_token: its at_hash does not match the access token")]
    AccessToken,
}

/// The user whom an ID token describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUser {
    /// `sub`
    pub subject: String,
    /// Only when the provider has verified it.
    pub email: Option<String>,
    pub full_name: Option<String>,
}

/// The sign-in that the token must match. A value that is `None` is not checked.
pub struct TokenBinding<'a> {
    /// `nonce` of the authorization request.
    pub nonce: Option<&'a str>,
    /// Access token of the same token response, checked by `at_hash`.
    pub access_token: Option<&'a AccessToken>,
}

/// Claims that the `openidconnect` crate does not read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ExtraClaims {
    nbf: Option<f64>,
}

impl AdditionalClaims for ExtraClaims {}

type Token = IdToken<ExtraClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Claims = IdTokenClaims<ExtraClaims, CoreGenderClaim>;

/// Verifies the ID tokens of one provider's accepted clients.
#[derive(Debug, Clone)]
pub struct IdTokenVerifier {
    client_id: String,
    /// The clients whose tokens are accepted.
    clients: HashSet<String>,
}

impl IdTokenVerifier {
    /// Accepts tokens issued for this client and for `others`.
    pub fn new(client_id: &str, others: impl IntoIterator<Item = String>) -> Self {
        let clients = others.into_iter().chain([client_id.to_owned()]).collect();
        Self { client_id: client_id.to_owned(), clients }
    }

    /// Accepts only tokens issued for this client, as the code flow of this client requires.
    pub fn for_own_client(&self) -> Self {
        Self::new(&self.client_id, [])
    }

    /// Verifies a token and returns its user.
    pub fn verify(
        &self,
        token: &str,
        binding: &TokenBinding<'_>,
        provider: &Metadata,
    ) -> Result<ProviderUser, IdTokenError> {
        if token.len() > MAX_LENGTH {
            return Err(IdTokenError::Malformed);
        }
        let token = Token::from_str(token).map_err(|_| IdTokenError::Malformed)?;
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
        let is_party_accepted = match claims.authorized_party() {
            Some(party) => self.clients.contains(party.as_str()),
            None => audiences.len() == 1,
        };
        if !audiences.is_empty() && accepted && is_party_accepted { Ok(()) } else { Err(IdTokenError::Audience) }
    }
}

fn verifier(client_id: &str, provider: &Metadata, now: i64) -> CoreIdTokenVerifier<'static> {
    let (client_id, issuer) = (ClientId::new(client_id.to_owned()), provider.issuer().clone());
    CoreIdTokenVerifier::new_public_client(client_id, issuer, provider.jwks().clone())
        .set_allowed_algs(ALGORITHMS)
        // The crate compares with one client; `check_audience` compares with all accepted clients.
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
        other => IdTokenError::Rejected(other.to_string()),
    }
}

fn user(claims: &Claims) -> Result<ProviderUser, IdTokenError> {
    let subject = claims.subject().as_str();
    if !(1..=MAX_SUBJECT).contains(&subject.len()) || subject.chars().any(char::is_control) {
        return Err(IdTokenError::Malformed);
    }
    let user = ProviderUser { subject: subject.to_owned(), email: None, full_name: None };
    Ok(user.with_claims(claims.email(), claims.email_verified(), claims.name()))
}

impl ProviderUser {
    /// Adds e-mail address and name; those that are missing stay as they are.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_without_a_variant_is_named_in_the_error() {
        let error = from_library(&ClaimsVerificationError::Unsupported("a critical header".to_owned())).to_string();
        assert!(error.starts_with("id_token: the ID token cannot be accepted: "), "{error}");
        assert!(error.contains("a critical header"), "{error}");
    }
}
