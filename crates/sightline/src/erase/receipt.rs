//! What a receipt lists as left, and until when: that of a deleted subject, as the API returned it, and that of a deleted user.

use std::fmt;

use contracts::topics::RETENTION_RESERVE;
use contracts::{SubjectId, Topics, UserId};
use jiff::{SignedDuration, Timestamp};
use store::Relational;
use uuid::Uuid;

use super::places::Place;

/// Entries of a user's audit log in which the deletion is looked for; it is the last one.
const ENTRIES: u32 = 10;
/// The entry of a deleted user.
const DELETED: &str = "deleted";

/// The places of a receipt, each until a time if it has an end.
pub struct Receipt(Vec<(String, Option<Timestamp>)>);

/// Whether a receipt lists a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Listed {
    /// It does, until this time if it has an end.
    Until(Option<Timestamp>),
    /// It did, and the time has passed.
    Overdue(Timestamp),
    /// It does not.
    No,
    /// It is not this deletion's: other tenants wrote the id.
    OfOthers,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until(Some(until)) => write!(f, "in the receipt until {until}"),
            Self::Until(None) => f.write_str("in the receipt"),
            Self::Overdue(until) => write!(f, "in the receipt until {until}, which has passed"),
            Self::No => f.write_str("in no receipt"),
            Self::OfOthers => f.write_str("of other tenants, whose data no deletion of this one touches"),
        }
    }
}

impl Receipt {
    /// The receipt of a subject or a user that was deleted; `None` if no deletion is recorded.
    pub async fn of(accounts: &Relational, id: Uuid, topics: &Topics) -> anyhow::Result<Option<Self>> {
        if let Some(deleted_at) = accounts.subject_deleted_at(SubjectId::from_uuid(id)).await? {
            let remaining = faces::remaining(topics, deleted_at);
            return Ok(Some(Self(remaining.into_iter().map(|data| (data.place, data.until)).collect())));
        }
        let log = accounts.audit_log(Some(UserId::from_uuid(id)), None, ENTRIES).await?;
        Ok(log.iter().find(|entry| entry.action == DELETED).map(|entry| Self::of_user(topics, entry.at)))
    }

    /// What docs/SECURITY.md says of a deleted user: the log keeps messages until the end of their retention, the accounts' database has
    /// the id in the audit log, among what is revoked and among deleted users, whose tenants are erased again as long as something can come,
    /// and Redis has it in rate limits and sessions, which are refused, until they expire.
    fn of_user(topics: &Topics, deleted_at: Timestamp) -> Self {
        let after = |time: SignedDuration| Some(deleted_at.checked_add(time).unwrap_or(Timestamp::MAX));
        let retention = |topic: &contracts::topics::Topic| {
            after(SignedDuration::try_from(topic.retention).unwrap_or(SignedDuration::MAX))
        };
        let of_topics = topics.iter().map(|topic| (format!("topic {}", topic.name), retention(topic)));
        let with_images = ["images in the inbox", faces::PHOTOGRAPHS];
        let remaining = faces::remaining(topics, deleted_at).into_iter();
        let images = remaining.filter(|data| with_images.contains(&data.place.as_str()));
        let kept = ["accounts audit_log", "accounts revocations", "redis limit", "redis session"];
        let kept = kept.map(|place| (place.to_owned(), None));
        let again = (faces::DELETED_USERS.to_owned(), Some(faces::erased_until(topics, deleted_at)));
        Self(of_topics.chain(images.map(|data| (data.place, data.until))).chain(kept).chain([again]).collect())
    }

    /// Whether it lists a place.
    pub fn lists(&self, place: &Place, now: Timestamp) -> Listed {
        if place.is_of_others() {
            return Listed::OfOthers;
        }
        let name = place.in_receipt();
        match self.0.iter().find(|(listed, _)| *listed == name) {
            None => Listed::No,
            Some((_, Some(until))) if now.duration_since(*until) > RETENTION_RESERVE => Listed::Overdue(*until),
            Some((_, until)) => Listed::Until(*until),
        }
    }
}

#[cfg(test)]
mod tests {
    use store::TableRows;

    use super::*;

    #[test]
    fn the_receipt_of_a_user_lists_topics_until_their_retention() {
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        let deleted_at: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let receipt = Receipt::of_user(&topics, deleted_at);
        let listed = |store, table: &str, now: &str| {
            let rows = TableRows { table: table.to_owned(), rows: 1, others: 0, columns: Vec::new() };
            receipt.lists(&Place::of_table(store, rows), now.parse().unwrap())
        };
        let day: Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
        assert_eq!(listed("topic", "sightline.results", "2026-01-02T12:00:00Z"), Listed::Until(Some(day)));
        assert_eq!(listed("topic", "sightline.results", "2026-01-03T12:00:00Z"), Listed::Until(Some(day)));
        assert_eq!(listed("topic", "sightline.results", "2026-01-04T12:00:00Z"), Listed::Overdue(day));
        let erased: Timestamp = "2026-02-02T00:00:00Z".parse().unwrap();
        assert_eq!(listed("accounts", "deleted_tenants", "2026-02-01T00:00:00Z"), Listed::Until(Some(erased)));
        assert_eq!(listed("accounts", "audit_log", "2027-01-01T00:00:00Z"), Listed::Until(None));
        assert_eq!(listed("accounts", "face_subjects", "2026-01-02T12:00:00Z"), Listed::No);
    }
}
