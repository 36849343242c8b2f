//! Deletes expired rows.

use jiff::{SignedDuration, Timestamp};

use super::database::Relational;
use super::values::values;
use crate::StoreError;

/// Maximum number of rows that one statement deletes, so that it does not hold locks for long.
const BATCH: i64 = 1_000;
/// Retention of a frame's charge. It is longer than the retention of frames in any log, so no retry is later.
const CHARGE_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 62);
/// Retention of the counters of past periods.
const COUNTER_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);
/// Retention of the outcome of an upload. It is longer than the retention of uploads in any log, so a message that is delivered again
/// finds it.
const UPLOAD_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 62);
/// Retention of the audit log.
const AUDIT_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 400);

/// Retention of orders of deleted users: ten years from the end of the year of the order, as bookkeeping needs them.
const KEPT_ORDER_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 366 * 11);

/// Retention of calls of providers.
const CALL_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 800);

/// The statements, each with the time for which a row is kept after the time in its condition.
const DELETIONS: [(&str, SignedDuration); 13] = [
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
        // An expired token stays in the owner's list, so that the owner can see why a program stopped working.
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
        CHARGE_RETENTION,
    ),
    (
        "DELETE FROM quota_counters WHERE (user_id, period) IN \
         (SELECT user_id, period FROM quota_counters WHERE touched_at < $1 AND period <> 'total' \
          ORDER BY touched_at LIMIT $2)",
        COUNTER_RETENTION,
    ),
    (
        "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < $1 ORDER BY at LIMIT $2)",
        AUDIT_RETENTION,
    ),
    (
        "DELETE FROM face_upload_outcomes WHERE (topic_id, log_partition, log_offset) IN \
         (SELECT topic_id, log_partition, log_offset FROM face_upload_outcomes WHERE decided_at < $1 \
          ORDER BY decided_at LIMIT $2)",
        UPLOAD_RETENTION,
    ),
    (
        "DELETE FROM face_upload_attempts WHERE (topic_id, log_partition, log_offset) IN \
         (SELECT topic_id, log_partition, log_offset FROM face_upload_attempts WHERE began_at < $1 \
          ORDER BY began_at LIMIT $2)",
        UPLOAD_RETENTION,
    ),
    (
        "DELETE FROM kept_orders WHERE id IN \
         (SELECT id FROM kept_orders WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
        KEPT_ORDER_RETENTION,
    ),
    (
        // A window may have got it while another one gave it up. The outer condition is tested again on a row that was changed meanwhile.
        "DELETE FROM checkpoints WHERE expires_at < $1 AND key IN (SELECT c.key FROM checkpoints c WHERE c.expires_at < $1 \
         AND NOT EXISTS (SELECT 1 FROM windows w WHERE w.checkpoint_key = c.key) ORDER BY c.expires_at LIMIT $2)",
        SignedDuration::ZERO,
    ),
    (
        "DELETE FROM provider_calls WHERE id IN \
         (SELECT id FROM provider_calls WHERE reserved_at < $1 ORDER BY reserved_at LIMIT $2)",
        CALL_RETENTION,
    ),
];

impl Relational {
    /// Deletes expired rows and keys. Returns the number of rows.
    pub async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = self.execute("DELETE FROM signing_keys WHERE verifies_until < $1", values![now]).await?;
        for (sql, retention) in DELETIONS {
            let cutoff = now.checked_sub(retention).unwrap_or(Timestamp::MIN);
            loop {
                let batch = self.execute(sql, values![cutoff, BATCH]).await?;
                deleted += batch;
                if batch < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(deleted + self.sweep_removals(now).await?)
    }
}
