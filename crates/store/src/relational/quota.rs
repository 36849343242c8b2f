//! Quotas: a counter per user and period, and the frames that it counts.
//!
//! A frame counts once, however often and however concurrently it is sent. It counts while at least one admitted request for it is
//! not refunded, so a failed request gives back its own charge only.

use contracts::{FrameId, UserId};
use jiff::Timestamp;

use super::database::{Relational, Transaction};
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
    /// Most frames per period.
    pub limit: u32,
}

/// The outcome of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// The frame is admitted.
    Admitted {
        /// Frames of this period that count now.
        used: u64,
    },
    /// The quota is used up. Nothing is charged.
    Refused,
    /// No user has the id.
    UnknownUser,
}

impl Relational {
    /// Charges a frame.
    pub async fn charge(&self, charge: &Charge<'_>, now: Timestamp) -> Result<Charged, StoreError> {
        // A client that keeps sending with a used-up quota costs a read and no write.
        if self.used(charge.user, charge.period).await? >= u64::from(charge.limit)
            && self.charged_period(charge.user, charge.frame).await?.is_none()
        {
            return Ok(Charged::Refused);
        }
        let mut transaction = self.begin().await?;
        match transaction.charge(charge, now).await {
            Ok(charged @ Charged::Admitted { .. }) => transaction.commit().await.map(|()| charged),
            Err(refused @ StoreError::Fatal(_)) => {
                drop(transaction);
                // The user may have been deleted between two statements.
                if self.user(charge.user).await?.is_none() { Ok(Charged::UnknownUser) } else { Err(refused) }
            }
            other => other,
        }
    }

    /// Gives back the charge of one admitted request that failed afterwards.
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

    /// Number of frames of a period that count.
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
    async fn charge(&mut self, charge: &Charge<'_>, now: Timestamp) -> Result<Charged, StoreError> {
        let Charge { user, frame, period, limit } = *charge;
        // The counter first, the frame after it, as in every transaction here: who holds the counter is the only one that
        // charges this user. Selecting from the users finds out who is gone without failing on it.
        let sql = "INSERT INTO quota_counters (user_id, period, used, touched_at) \
                   SELECT id, $2, 0, $3 FROM users WHERE id = $1 \
                   ON CONFLICT (user_id, period) DO UPDATE SET touched_at = excluded.touched_at RETURNING used";
        let Some(row) = self.row(sql, values![user, period, now]).await? else { return Ok(Charged::UnknownUser) };
        let used = row.get::<i64>("used")?.unsigned_abs();
        let again = "UPDATE quota_charges SET holders = holders + 1 WHERE user_id = $1 AND frame_id = $2";
        if self.execute(again, values![user, frame]).await? == 1 {
            return Ok(Charged::Admitted { used });
        }
        if used >= u64::from(limit) {
            return Ok(Charged::Refused);
        }
        let sql = "INSERT INTO quota_charges (user_id, frame_id, period, holders, charged_at) VALUES ($1, $2, $3, 1, $4) \
                   ON CONFLICT (user_id, frame_id) DO NOTHING";
        if self.execute(sql, values![user, frame, period, now]).await? == 0 {
            // At the turn of a period another instance may count it in the one before.
            self.execute(again, values![user, frame]).await?;
            return Ok(Charged::Admitted { used });
        }
        let sql = "UPDATE quota_counters SET used = used + 1 WHERE user_id = $1 AND period = $2";
        self.execute(sql, values![user, period]).await?;
        Ok(Charged::Admitted { used: used + 1 })
    }
}
