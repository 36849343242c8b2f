//! Whether an ID token counts, and who it is about.
//!
//! The library checks issuer, signature, expiry and nonce, each as OpenID Connect Core has it in 3.1.3.7. It leaves to us what
//! differs from one installation to the next: whose tokens count besides our own, and how far clocks are apart.

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

/// Longest token that is looked at: providers that put a user's groups into it need some kilobytes.
const MAX_LENGTH: usize = 16 << 10;
/// Longest name of a person at its provider.
const MAX_SUBJECT: usize = 255;
/// Longest name for people, in characters.
const MAX_NAME: usize = 200;
/// How far the provider's clock may be ahead, in seconds.
const AHEAD: i64 = 60;

/// Signed with a key that only the provider has. A secret that we share with it is none of these: what it can sign so can we,
/// and whoever takes a public key for a secret.
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

/// Why an ID token does not count, in words for who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is none.
    #[error("id_token: this is no ID token")]
    NotAToken,
    /// By no key that the provider publishes.
    #[error("id_token: it is not signed with a key of the provider")]
    UnknownKey,
    /// With another key, or by an algorithm that does not count.
    #[error("id_token: its signature does not count")]
    Signature,
    /// Of another provider.
    #[error("id_token: it is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("id_token: it was made for another client (SIGHTLINE_OIDC_CLIENT_ID and _AUDIENCES name those that count)")]
    Audience,
    /// Its time is over, or has not come.
    #[error("id_token: its time is over or has not come; sign in with the provider again")]
    Time,
    /// Of another sign-in.
    #[error("nonce: the ID token was not made for this one")]
    Nonce,
    /// Of another answer.
    #[error("id_token: it does not belong to the access token that came with it")]
    AccessToken,
}

/// Who somebody is by the provider's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The provider's own name for it.
    pub subject: String,
    /// Its address, if the provider says that it is its own.
    pub email: Option<String>,
    /// Its name for people.
    pub full_name: Option<String>,
}

/// What a token must belong to besides.
pub struct Proof<'a> {
    /// What it was asked for with.
    pub nonce: Option<&'a str>,
    /// What it came with.
    pub access_token: Option<&'a AccessToken>,
}

/// What the library does not read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Besides {
    nbf: Option<f64>,
}

impl AdditionalClaims for Besides {}

type Token = IdToken<Besides, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Claims = IdTokenClaims<Besides, CoreGenderClaim>;

/// Judges tokens.
#[derive(Debug, Clone)]
pub struct Judge {
    client_id: String,
    /// Whose tokens count.
    clients: HashSet<String>,
}

impl Judge {
    /// Takes tokens of this client, and of others.
    pub fn new(client_id: &str, others: impl IntoIterator<Item = String>) -> Self {
        let clients = others.into_iter().chain([client_id.to_owned()]).collect();
        Self { client_id: client_id.to_owned(), clients }
    }

    /// Takes tokens of this client alone, as in a flow that it began itself.
    pub fn of_our_own(&self) -> Self {
        Self::new(&self.client_id, [])
    }

    /// Who a token is about, if it counts.
    pub fn person(&self, token: &str, proof: &Proof<'_>, provider: &Metadata) -> Result<Person, Rejected> {
        if token.len() > MAX_LENGTH {
            return Err(Rejected::NotAToken);
        }
        let token = Token::from_str(token).map_err(|_| Rejected::NotAToken)?;
        let now = Timestamp::now().as_second();
        let verifier = verifier(&self.client_id, provider, now);
        let claims = match proof.nonce {
            Some(nonce) => token.claims(&verifier, &Nonce::new(nonce.to_owned())),
            None => token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
        };
        let claims = claims.map_err(|error| rejected(&error))?;
        let too_early = claims.additional_claims().nbf.is_some_and(|nbf| nbf > (now + AHEAD) as f64);
        if too_early {
            return Err(Rejected::Time);
        }
        self.is_for_us(claims)?;
        if let (Some(given), Some(access_token)) = (claims.access_token_hash(), proof.access_token) {
            belongs(&token, &verifier, access_token, given)?;
        }
        who(claims)
    }

    /// Everybody whom it is for must be of ours, and so must be who asked for it.
    fn is_for_us(&self, claims: &Claims) -> Result<(), Rejected> {
        let audiences = claims.audiences();
        let ours = audiences.iter().all(|audience| self.clients.contains(audience.as_str()));
        let asked_by_ours = match claims.authorized_party() {
            Some(party) => self.clients.contains(party.as_str()),
            None => audiences.len() == 1,
        };
        if !audiences.is_empty() && ours && asked_by_ours { Ok(()) } else { Err(Rejected::Audience) }
    }
}

fn verifier(client_id: &str, provider: &Metadata, now: i64) -> CoreIdTokenVerifier<'static> {
    let (client_id, issuer) = (ClientId::new(client_id.to_owned()), provider.issuer().clone());
    CoreIdTokenVerifier::new_public_client(client_id, issuer, provider.jwks().clone())
        .set_allowed_algs(ALGORITHMS)
        // It knows one client; ours are several, which `is_for_us` looks at.
        .require_audience_match(false)
        .set_issue_time_verifier_fn(move |issued| {
            if issued.timestamp() <= now + AHEAD { Ok(()) } else { Err("issued in the future".to_owned()) }
        })
}

fn belongs(
    token: &Token,
    verifier: &CoreIdTokenVerifier<'_>,
    access_token: &AccessToken,
    given: &AccessTokenHash,
) -> Result<(), Rejected> {
    let algorithm = token.signing_alg().map_err(|_| Rejected::Signature)?;
    let key: &CoreJsonWebKey = token.signing_key(verifier).map_err(|_| Rejected::Signature)?;
    let right = AccessTokenHash::from_token(access_token, algorithm, key).map_err(|_| Rejected::AccessToken)?;
    if right == *given { Ok(()) } else { Err(Rejected::AccessToken) }
}

fn rejected(error: &ClaimsVerificationError) -> Rejected {
    match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            Rejected::UnknownKey
        }
        ClaimsVerificationError::SignatureVerification(_) => Rejected::Signature,
        ClaimsVerificationError::InvalidIssuer(_) => Rejected::Issuer,
        ClaimsVerificationError::Expired(_) => Rejected::Time,
        ClaimsVerificationError::InvalidNonce(_) => Rejected::Nonce,
        _ => Rejected::NotAToken,
    }
}

fn who(claims: &Claims) -> Result<Person, Rejected> {
    let subject = claims.subject().as_str();
    if !(1..=MAX_SUBJECT).contains(&subject.len()) || subject.chars().any(char::is_control) {
        return Err(Rejected::NotAToken);
    }
    let person = Person { subject: subject.to_owned(), email: None, full_name: None };
    Ok(person.described(claims.email(), claims.email_verified(), claims.name()))
}

impl Person {
    /// With what the provider says besides, as far as it can be kept.
    pub fn described(
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
