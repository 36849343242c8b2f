//! `topics.yaml` maps topic roles to topics. In: the text of the file, read once at start. Out: [`Topics`], complete and valid.
//!
//! A role without an entry gets its default from the built-in file ([`DEFAULT`]), so a file for an older version works with a
//! newer one. [`Topics::defaulted`] names those roles; the bus logs them at start.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::event::shortened_to;

pub use crate::topic_role::TopicRole;

/// The built-in file, for operators without a file and for roles that the operator's file lacks.
pub const DEFAULT: &str = include_str!("../../../topics.yaml");

/// How much longer than its retention a message may have effects: a topic deletes whole segments, some time after it, and a consumer may have
/// read the message just before its end.
pub const RETENTION_RESERVE: SignedDuration = SignedDuration::from_hours(24);

/// Length up to which an error of a file is shown, in characters. It has room for the names of all roles.
const MAX_SYNTAX_ERROR: usize = 1_000;

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// What the topic is for.
    pub role: TopicRole,
    /// Name on the log, 1 to 249 characters out of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// Number of partitions, 1 or more.
    pub partitions: i32,
    /// Minimum time that a message is kept, 1 s or more.
    #[serde(with = "crate::topic_units::duration")]
    pub retention: Duration,
    /// Size of a partition in bytes above which messages are dropped before their retention ends; `None` for no limit. At least
    /// eight times `max_message_bytes`.
    #[serde(default, with = "crate::topic_units::size", skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// Maximum size of a message with key and headers, in bytes; 1024 or more.
    pub max_message_bytes: usize,
    /// Description of the message key.
    pub key: String,
    /// CloudEvents type of the messages.
    pub event: String,
    /// Services that write the topic.
    pub writers: Vec<String>,
    /// Services that read the topic.
    pub readers: Vec<String>,
}

/// All topics, one for each role. Those of audio are in use only after [`Self::with_audio`]. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// In the order of [`TopicRole::ALL`].
    topics: Arc<[Topic]>,
    defaulted: Arc<[TopicRole]>,
    audio: bool,
}

/// Why a `topics.yaml` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicsError {
    /// The text is not YAML of this shape.
    #[error("topics.yaml: {0}")]
    Syntax(String),
    /// The entry of a role is invalid.
    #[error("topics.yaml, role {role}: {reason}")]
    Role {
        /// The role.
        role: TopicRole,
        /// What is invalid and what is allowed.
        reason: String,
    },
}

impl TopicsError {
    fn role(role: TopicRole, reason: impl Into<String>) -> Self {
        Self::Role { role, reason: reason.into() }
    }
}

/// Maximum size in bytes of the headers that a dead letter adds to its original.
const DEAD_LETTER_HEADERS: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicsFile {
    topics: Vec<Topic>,
}

impl Topics {
    /// Parses a `topics.yaml`. Roles without an entry get their defaults.
    ///
    /// # Errors
    /// If the text is not YAML of this shape, has an unknown role, a duplicate role or name, or a
    /// value out of range; or if another role already uses the default name of a missing role.
    pub fn parse(text: &str) -> Result<Self, TopicsError> {
        let configured = read(text)?;
        check_each(&configured)?;
        let mut defaults = Vec::new();
        for role in TopicRole::ALL {
            if configured.iter().all(|topic| topic.role != role) {
                defaults.push(default_for(role, &configured)?);
            }
        }
        let defaulted = defaults.iter().map(|topic| topic.role).collect();
        let mut topics: Vec<Topic> = configured.into_iter().chain(defaults).collect();
        // There is now exactly one topic per role, so sorting by the enum gives the order of `TopicRole::ALL`.
        topics.sort_by_key(|topic| topic.role);
        let all = Self { topics: topics.into(), defaulted, audio: false };
        all.check_together()?;
        Ok(all)
    }

    fn check_together(&self) -> Result<(), TopicsError> {
        if self.get(TopicRole::Alerts).partitions != 1 {
            return Err(TopicsError::role(TopicRole::Alerts, "must have one partition: alerts have a total order"));
        }
        if self.get(TopicRole::Frames).partitions != self.get(TopicRole::Results).partitions {
            return Err(TopicsError::role(TopicRole::Results, "must have as many partitions as frames"));
        }
        Ok(())
    }

    /// These topics, with those of audio in use or not.
    #[must_use]
    pub fn with_audio(self, audio: bool) -> Self {
        Self { audio, ..self }
    }

    /// Whether the topic of a role is in use.
    pub const fn is_used(&self, role: TopicRole) -> bool {
        self.audio || !role.is_of_audio()
    }

    /// The topic of a role, in use or not.
    pub fn get(&self, role: TopicRole) -> &Topic {
        &self.topics[role as usize]
    }

    /// The roles in use that the file lacks; they have their default topics.
    pub fn defaulted(&self) -> Vec<TopicRole> {
        self.defaulted.iter().copied().filter(|role| self.is_used(*role)).collect()
    }

    /// The topics in use, in the order of [`TopicRole::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().filter(move |topic| self.is_used(topic.role))
    }

    /// The roles of the topics in use, in the order of [`TopicRole::ALL`].
    pub fn roles(&self) -> impl Iterator<Item = TopicRole> {
        self.iter().map(|topic| topic.role)
    }

    /// The topics with a prefix on every name, which isolates tests on one server.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        self.map(|topic| topic.name = format!("{prefix}{}", topic.name))
    }

    /// The topics after `change` was applied to each.
    #[must_use]
    pub fn map(&self, change: impl Fn(&mut Topic)) -> Self {
        let mut topics = self.topics.to_vec();
        topics.iter_mut().for_each(change);
        Self { topics: topics.into(), defaulted: Arc::clone(&self.defaulted), audio: self.audio }
    }
}

fn read(text: &str) -> Result<Vec<Topic>, TopicsError> {
    let TopicsFile { topics } =
        serde_yaml_ng::from_str(text).map_err(|error| TopicsError::Syntax(shortened_to(&error, MAX_SYNTAX_ERROR)))?;
    Ok(topics)
}

/// Checks each entry, and that no role or name occurs twice.
fn check_each(topics: &[Topic]) -> Result<(), TopicsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    for topic in topics {
        let invalid = |reason: &str| Err(TopicsError::role(topic.role, reason));
        if topics.iter().filter(|other| other.role == topic.role).count() > 1 {
            return invalid("occurs twice; remove one");
        }
        if topics.iter().filter(|other| other.name == topic.name).count() > 1 {
            return invalid("its name is used twice; every role needs its own topic");
        }
        if topic.name.is_empty() || topic.name.len() > 249 || !topic.name.bytes().all(allowed) {
            return invalid("name must be 1 to 249 characters out of A-Z a-z 0-9 . _ -");
        }
        if topic.partitions < 1 || topic.max_message_bytes < 1024 || topic.retention < Duration::from_secs(1) {
            return invalid("partitions must be 1 or more, max_message_bytes 1024 or more, retention 1s or more");
        }
        // The log drops whole segments, and a segment must hold several messages.
        let least = (topic.max_message_bytes as u64).saturating_mul(8);
        if topic.retention_bytes.is_some_and(|bytes| bytes < least || i64::try_from(bytes).is_err()) {
            return invalid(&format!(
                "retention_bytes must be {least} or more (8 times max_message_bytes), such as 1GiB"
            ));
        }
    }
    Ok(())
}

/// The default topic of a role that a file lacks, with partitions and message size adapted to the topics of the file.
fn default_for(role: TopicRole, configured: &[Topic]) -> Result<Topic, TopicsError> {
    let built_in = read(DEFAULT)?.into_iter().find(|topic| topic.role == role);
    let mut topic = built_in.ok_or_else(|| TopicsError::role(role, "is missing"))?;
    if let Some(taken) = configured.iter().find(|other| other.name == topic.name) {
        let (name, other) = (&topic.name, taken.role);
        let reason = format!(
            "is missing, and its default topic {name} is already that of role {other}; add an entry for {role} with \
             another name"
        );
        return Err(TopicsError::role(role, reason));
    }
    let find = |role| configured.iter().find(|topic| topic.role == role);
    let same_partitions = match role {
        TopicRole::Frames => find(TopicRole::Results),
        TopicRole::Results => find(TopicRole::Frames),
        _ => None,
    };
    if let Some(other) = same_partitions {
        topic.partitions = other.partitions;
    }
    // Every message of the source topic must fit: a dead letter is the original with additional headers, a reply is a result.
    let origin = TopicRole::ALL.into_iter().find(|origin| origin.dead_letters() == Some(role));
    let needed = match (role, origin) {
        (_, Some(origin)) => find(origin).map(|origin| origin.max_message_bytes.saturating_add(DEAD_LETTER_HEADERS)),
        (TopicRole::Replies, _) => find(TopicRole::Results).map(|results| results.max_message_bytes),
        _ => None,
    };
    topic.max_message_bytes = topic.max_message_bytes.max(needed.unwrap_or(0));
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The built-in file without the entries of these roles.
    fn without(roles: &[TopicRole]) -> String {
        let mut entries = DEFAULT.split("  - role: ");
        let head = entries.next().unwrap().to_owned();
        let is_kept = |entry: &&str| !roles.iter().any(|role| entry.lines().next() == Some(role.as_str()));
        entries.filter(is_kept).fold(head, |text, entry| format!("{text}  - role: {entry}"))
    }

    #[test]
    fn the_built_in_file_is_valid_and_complete() {
        let topics = Topics::parse(DEFAULT).unwrap();
        for role in TopicRole::ALL {
            assert_eq!(topics.get(role).role, role);
        }
        assert_eq!(topics.get(TopicRole::Alerts).retention, Duration::from_secs(7 * 86_400));
        assert_eq!(topics.defaulted(), []);
    }

    #[test]
    fn an_invalid_file_is_refused_by_role() {
        for (from, to, expected) in [
            ("role: replies", "role: alerts", "role alerts: occurs twice"),
            ("name: sightline.replies", "name: sightline.alerts", "used twice"),
            ("partitions: 12", "partitions: 0", "partitions"),
            ("retention: 7d", "retention: soon", "not a duration"),
            ("key: <tenant>\n", "key: <tenant>\n    colour: red\n", "colour"),
            ("retention_bytes: 2GiB", "retention_bytes: much", "a size such as 1GiB"),
            ("retention_bytes: 2GiB", "retention_bytes: 1MiB", "retention_bytes must be 10485760 or more"),
            ("retention_bytes: 2GiB", "retention_bytes: -1", "a size such as 1GiB"),
        ] {
            let error = Topics::parse(&DEFAULT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn a_size_limit_is_optional_and_has_a_unit_or_none() {
        let limit = |line: &str| {
            let text = DEFAULT.lines().filter(|line| !line.contains("retention_bytes")).collect::<Vec<_>>().join("\n");
            let topics = Topics::parse(&text.replacen("retention: 24h", &format!("retention: 24h{line}"), 1)).unwrap();
            topics.get(TopicRole::Frames).retention_bytes
        };
        assert_eq!(limit(""), None, "a file of an older version");
        assert_eq!(limit("\n    retention_bytes: 2GiB"), Some(2 << 30));
        assert_eq!(limit("\n    retention_bytes: 20000000"), Some(20_000_000));
    }

    #[test]
    fn a_role_without_an_entry_gets_its_default() {
        let built_in = Topics::parse(DEFAULT).unwrap().with_audio(true);
        for role in TopicRole::ALL {
            let topics = Topics::parse(&without(&[role])).unwrap().with_audio(true);
            assert_eq!(topics.defaulted(), [role]);
            assert!(topics.iter().eq(built_in.iter()), "{role}");
        }
        let none = Topics::parse("topics: []").unwrap().with_audio(true);
        assert_eq!(none.defaulted(), TopicRole::ALL);
    }

    #[test]
    fn without_audio_its_topics_are_not_in_use() {
        let without = Topics::parse("topics: []").unwrap();
        let with = without.clone().with_audio(true);
        assert_eq!(with.roles().collect::<Vec<_>>(), TopicRole::ALL);
        // What is in use is a beginning of all roles, so a role is at the same place in either list.
        let used: Vec<TopicRole> = without.roles().collect();
        assert!(TopicRole::ALL.starts_with(&used) && used.len() == TopicRole::ALL.len() - 3, "{used:?}");
        assert_eq!(without.defaulted(), used, "nobody is told of a topic that nobody uses");
        assert_eq!(without.get(TopicRole::MediaTasks), with.get(TopicRole::MediaTasks));
        assert!(
            !without.prefixed("t.").is_used(TopicRole::MediaTasks)
                && with.prefixed("t.").is_used(TopicRole::MediaTasks)
        );
    }

    #[test]
    fn an_unknown_role_is_refused_with_the_known_ones() {
        let error = Topics::parse(&DEFAULT.replace("role: replies", "role: answers")).unwrap_err().to_string();
        let known = TopicRole::ALL.iter().all(|role| error.contains(role.as_str()));
        assert!(error.contains("answers") && known, "{error}");
    }

    #[test]
    fn a_default_has_the_partitions_of_its_counterpart() {
        let text = |missing| without(&[missing]).replace("partitions: 12", "partitions: 5");
        for (missing, configured) in [(TopicRole::Results, TopicRole::Frames), (TopicRole::Frames, TopicRole::Results)]
        {
            let topics = Topics::parse(&text(missing)).unwrap();
            assert_eq!((topics.get(missing).partitions, topics.get(configured).partitions), (5, 5));
        }
    }

    #[test]
    fn a_default_topic_fits_the_largest_message_of_its_source() {
        let dead = [TopicRole::FramesDlq, TopicRole::ResultsDlq, TopicRole::FacesUploadsDlq, TopicRole::MediaTasksDlq];
        let missing = [&dead[..], &[TopicRole::Replies]].concat();
        let larger = without(&missing).replace("1310720", "8000000").replace("65536", "8000000");
        let topics = Topics::parse(&larger).unwrap();
        for role in dead {
            assert!(topics.get(role).max_message_bytes > 8_000_000, "{role}");
        }
        assert_eq!(topics.get(TopicRole::Replies).max_message_bytes, 8_000_000);
    }

    #[test]
    fn a_default_name_in_use_is_refused() {
        let text = without(&[TopicRole::Replies]).replace("name: sightline.alerts", "name: sightline.replies");
        let error = Topics::parse(&text).unwrap_err().to_string();
        assert!(error.contains("role replies") && error.contains("role alerts"), "{error}");
    }
}
