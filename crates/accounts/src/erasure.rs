//! Deletes a user with all data of its tenant.
//!
//! Order: the user is disabled, the erasers of the other stores run, and the user's own rows are
//! deleted last. A failure in between leaves a disabled user, and another call continues the
//! deletion. Frames that are still in the log are processed after it. Their results belong to a
//! tenant that no other user gets; only admins see them. The user's row leaves a record of the tenant, by which
//! the service `faces` erases it again: after a minute, two, four and so on, until nothing can come any more.

use std::time::Duration;

use contracts::{TenantId, UserId};
use store::Erased;
use store::relational::AccessChange;

use crate::audit::Actor;
use crate::error::AccountError;
use crate::service::AccountsService;

/// Time after which every instance has read a revocation.
const REVOCATION_DELAY: Duration = Duration::from_secs(1);

impl AccountsService {
    /// Deletes a user. Returns a receipt of each eraser, in their order.
    ///
    /// # Errors
    /// `OperatorUser` for the operator's own user. After a failure of a store, the user is disabled and the call can be repeated.
    pub async fn delete_user(&self, id: UserId, actor: &Actor) -> Result<Vec<Erased>, AccountError> {
        let tenant = self.user(id).await?.tenant;
        if tenant == TenantId::admin() {
            return Err(AccountError::OperatorUser);
        }
        // Otherwise a request of the user could write something after its eraser ran.
        self.change_access(id, &AccessChange { disabled: Some(true), ..AccessChange::default() }, actor).await?;
        tokio::time::sleep(REVOCATION_DELAY).await;
        let erased = self.erase_tenant(&tenant).await?;
        let now = self.clock.now();
        if !self.store.delete_user(id, now, self.settings.all_credentials_expired_by(now)).await? {
            return Err(AccountError::NotFound("user"));
        }
        self.audit("deleted", Some(id), actor, Some(describe(&erased))).await;
        self.verifier.refresh_best_effort().await;
        Ok(erased)
    }

    async fn erase_tenant(&self, tenant: &TenantId) -> Result<Vec<Erased>, AccountError> {
        let mut erased = Vec::with_capacity(self.erasers.len());
        for eraser in &self.erasers {
            erased.push(eraser.erase(tenant).await?);
        }
        Ok(erased)
    }
}

/// The receipts for the audit log.
fn describe(erased: &[Erased]) -> String {
    erased.iter().map(Erased::to_string).collect::<Vec<_>>().join(", ")
}
