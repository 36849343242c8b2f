//! The operator's own credential: one random token, stored as a hash. Also one with fewer scopes, for a program that the operator's
//! program starts.

use async_trait::async_trait;
use contracts::{FrameId, TenantId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{AccessError, Accounts, Caller, Scope, SecretText};

/// Minimum length of the token, in bytes: 128 bits in hexadecimal digits.
const MIN_LENGTH: usize = 32;

/// Accepts one token of the operator's tenant, which has no quota or rate limit.
pub struct AdminToken {
    hash: [u8; 32],
    caller: Caller,
}

impl AdminToken {
    /// Accepts `token`, which has every scope and reads the data of every tenant. Stores only its hash.
    ///
    /// # Errors
    /// The token is too short to be safe, or no request can carry it.
    pub fn new(token: &str) -> Result<Self, String> {
        let token = token.trim();
        if token.len() < MIN_LENGTH {
            return Err(format!("an admin token must have at least {MIN_LENGTH} bytes"));
        }
        settings::check_token(token)?;
        let caller = Caller { reads_all_tenants: true, ..Caller::new(TenantId::admin(), Scope::ALL.to_vec()) };
        Ok(Self { hash: Sha256::digest(token).into(), caller })
    }

    /// Accepts a generated token, which has only these scopes.
    pub fn limited(token: &str, scopes: &[Scope]) -> Self {
        Self { hash: Sha256::digest(token).into(), caller: Caller::new(TenantId::admin(), scopes.to_vec()) }
    }
}

/// A random admin token of 256 bits.
pub fn generate_token() -> String {
    SecretText::random("sl_").expose().to_owned()
}

#[async_trait]
impl Accounts for AdminToken {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if !bool::from(hash.ct_eq(&self.hash)) {
            return Err(AccessError::InvalidCredential);
        }
        Ok(self.caller.clone())
    }

    async fn charge(&self, _: &Caller, _: FrameId) -> Result<(), AccessError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), AccessError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_admin_token_is_accepted() {
        let token = generate_token();
        let accounts = AdminToken::new(&format!("{token}\n")).unwrap();
        assert!(accounts.authenticate(&token).await.is_ok());
        for wrong in ["", &token[1..], &format!("{token}x"), &generate_token()] {
            assert_eq!(accounts.authenticate(wrong).await, Err(AccessError::InvalidCredential));
        }
    }

    #[tokio::test]
    async fn a_limited_token_has_its_scopes_in_the_same_tenant() {
        let [admin, limited] = [(); 2].map(|()| generate_token());
        let own = AdminToken::new(&admin).unwrap().authenticate(&admin).await.unwrap();
        let accounts = AdminToken::limited(&limited, &[Scope::FramesWrite]);
        let caller = accounts.authenticate(&limited).await.unwrap();
        assert_eq!((&caller.tenant, &caller.scopes[..]), (&own.tenant, &[Scope::FramesWrite][..]));
        assert!(own.reads_all_tenants && !caller.reads_all_tenants);
        assert_eq!(accounts.authenticate(&admin).await, Err(AccessError::InvalidCredential));
    }

    #[test]
    fn a_token_that_is_short_or_unusable_is_refused() {
        for wrong in ["secret", &format!("{}\n{}", "a".repeat(40), "b"), &"é".repeat(40), &"a ".repeat(40)] {
            assert!(AdminToken::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
