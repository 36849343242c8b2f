//! Deletes expired rows.

use jiff::{SignedDuration, Timestamp};

use super::database::Relational;
use super::values::values;
use crate::StoreError;

/// Most rows that one statement deletes, so that it does not block others for long.
const AT_ONCE: i64 = 1_000;
/// Retention of the charge of a frame: longer than any log retains a frame, so no repeat comes later.
const CHARGES_KEPT: SignedDuration = SignedDuration::from_hours(24 * 62);
/// Retention of the counters of past periods.
const COUNTERS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 400);
/// Retention of the audit log.
const AUDIT_KEPT: SignedDuration = SignedDuration::from_hours(24 * 400);

/// The statements, with the retention after expiry.
const SWEPT: [(&str, SignedDuration); 8] = [
    (
        "DELETE FROM revocations WHERE sequence IN \
         (SELECT sequence FROM revocations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        SignedDuration::ZERO,
    ),
    (
        "DELETE FROM refresh_tokens WHERE hash IN \
         (SELECT hash FROM refresh_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        SignedDuration::ZERO,
    ),
    (
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        SignedDuration::ZERO,
    ),
    (
        "DELETE FROM api_tokens WHERE id IN \
         (SELECT id FROM api_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        // The owner still finds an expired token in the list, which explains why a program stopped working.
        SignedDuration::from_hours(24 * 31),
    ),
    (
        "DELETE FROM password_resets WHERE hash IN \
         (SELECT hash FROM password_resets WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        SignedDuration::ZERO,
    ),
    (
        "DELETE FROM quota_charges WHERE (user_id, frame_id) IN \
         (SELECT user_id, frame_id FROM quota_charges WHERE charged_at < $1 ORDER BY charged_at LIMIT $2)",
        CHARGES_KEPT,
    ),
    (
        "DELETE FROM quota_counters WHERE (user_id, period) IN \
         (SELECT user_id, period FROM quota_counters WHERE touched_at < $1 AND period <> 'total' \
          ORDER BY touched_at LIMIT $2)",
        COUNTERS_KEPT,
    ),
    ("DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < $1 ORDER BY at LIMIT $2)", AUDIT_KEPT),
];

impl Relational {
    /// Deletes expired rows and keys. Returns the number of rows.
    pub async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut swept = self.execute("DELETE FROM signing_keys WHERE verifies_until < $1", values![now]).await?;
        for (sql, kept) in SWEPT {
            let before = now.checked_sub(kept).unwrap_or(Timestamp::MIN);
            loop {
                let some = self.execute(sql, values![before, AT_ONCE]).await?;
                swept += some;
                if some < AT_ONCE.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(swept)
    }
}
