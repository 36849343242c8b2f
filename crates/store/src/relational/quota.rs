//! Quotas: a counter per user and period, and the frames that it counts.
//!
//! A frame counts once, even if it is sent repeatedly or concurrently. It counts while at least one
//! admitted request for it is not refunded, so a failed request refunds only its own charge.

use contracts::{FrameId, UserId};
use jiff::Timestamp;

use super::database::Relational;
use super::transaction::Transaction;
use super::values::values;
use crate::StoreError;

/// A charge of one frame.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The user.
    pub user: UserId,
    /// The frame.
    pub frame: FrameId,
    /// The name of the current period.
    pub period: &'a str,
    /// Maximum number of frames per period.
    pub limit: u32,
}

/// The outcome of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// The frame is admitted.
    Admitted {
        /// Number of charged frames of this period, including this one.
        used: u64,
    },
    /// The quota is used up. Nothing is charged.
    Refused,
    /// No user has the id.
    UnknownUser,
}

impl Relational {
    /// Charges a frame.
    pub async fn charge(&self, charge: &Charge<'_>, now: Timestamp) -> Result<ChargeOutcome, StoreError> {
        // A client that continues to send with a used-up quota costs a read and no write.
        if self.used(charge.user, charge.period).await? >= u64::from(charge.limit)
            && self.charged_period(charge.user, charge.frame).await?.is_none()
        {
            return Ok(ChargeOutcome::Refused);
        }
        let mut transaction = self.begin().await?;
        match transaction.charge(charge, now).await {
            Ok(charged @ ChargeOutcome::Admitted { .. }) => transaction.commit().await.map(|()| charged),
            Err(refused @ StoreError::Fatal(_)) => {
                drop(transaction);
                // The user may have been deleted between two statements.
                if self.user(charge.user).await?.is_none() { Ok(ChargeOutcome::UnknownUser) } else { Err(refused) }
            }
            other => other,
        }
    }

    /// Refunds the charge of one admitted request that failed afterwards.
    pub async fn refund(&self, user: UserId, frame: FrameId, now: Timestamp) -> Result<(), StoreError> {
        let Some(period) = self.charged_period(user, frame).await? else { return Ok(()) };
        let mut transaction = self.begin().await?;
        let sql = "UPDATE quota_counters SET touched_at = $3 WHERE user_id = $1 AND period = $2";
        transaction.execute(sql, values![user, &period, now]).await?;
        let sql = "UPDATE quota_charges SET holders = holders - 1 WHERE user_id = $1 AND frame_id = $2 AND holders > 1";
        if transaction.execute(sql, values![user, frame]).await? == 0 {
            let sql = "DELETE FROM quota_charges WHERE user_id = $1 AND frame_id = $2";
            let deleted = transaction.execute(sql, values![user, frame]).await?;
            let sql = "UPDATE quota_counters SET used = used - $3 WHERE user_id = $1 AND period = $2";
            transaction.execute(sql, values![user, &period, i64::from(deleted == 1)]).await?;
        }
        transaction.commit().await
    }

    /// Number of charged frames of a period.
    pub async fn used(&self, user: UserId, period: &str) -> Result<u64, StoreError> {
        let sql = "SELECT used FROM quota_counters WHERE user_id = $1 AND period = $2";
        let row = self.row(sql, values![user, period]).await?;
        let used: i64 = row.map_or(Ok(0), |row| row.get("used"))?;
        Ok(used.unsigned_abs())
    }

    async fn charged_period(&self, user: UserId, frame: FrameId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT period FROM quota_charges WHERE user_id = $1 AND frame_id = $2";
        self.row(sql, values![user, frame]).await?.map(|row| row.get("period")).transpose()
    }
}

impl Transaction {
    async fn charge(&mut self, charge: &Charge<'_>, now: Timestamp) -> Result<ChargeOutcome, StoreError> {
        let Charge { user, frame, period, limit } = *charge;
        // The counter first, then the frame, as in every transaction here: the lock on the counter serialises the charges of a
        // user. The SELECT from the users returns no row for a deleted user, so the statement does not fail.
        let sql = "INSERT INTO quota_counters (user_id, period, used, touched_at) \
                   SELECT id, $2, 0, $3 FROM users WHERE id = $1 \
                   ON CONFLICT (user_id, period) DO UPDATE SET touched_at = excluded.touched_at RETURNING used";
        let Some(row) = self.row(sql, values![user, period, now]).await? else { return Ok(ChargeOutcome::UnknownUser) };
        let used = row.get::<i64>("used")?.unsigned_abs();
        let again = "UPDATE quota_charges SET holders = holders + 1 WHERE user_id = $1 AND frame_id = $2";
        if self.execute(again, values![user, frame]).await? == 1 {
            return Ok(ChargeOutcome::Admitted { used });
        }
        if used >= u64::from(limit) {
            return Ok(ChargeOutcome::Refused);
        }
        let sql = "INSERT INTO quota_charges (user_id, frame_id, period, holders, charged_at) VALUES ($1, $2, $3, 1, $4) \
                   ON CONFLICT (user_id, frame_id) DO NOTHING";
        if self.execute(sql, values![user, frame, period, now]).await? == 0 {
            // At the end of a period, another instance may have charged it in the previous one.
            self.execute(again, values![user, frame]).await?;
            return Ok(ChargeOutcome::Admitted { used });
        }
        let sql = "UPDATE quota_counters SET used = used + 1 WHERE user_id = $1 AND period = $2";
        self.execute(sql, values![user, period]).await?;
        Ok(ChargeOutcome::Admitted { used: used + 1 })
    }
}
