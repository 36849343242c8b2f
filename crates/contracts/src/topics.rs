//! `topics.yaml`: which topic plays which role, read once at start. In: its text. Out: [`Topics`], complete and sound.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::brief;

/// The file as it comes with the product, for a start without one.
pub const DEFAULT: &str = include_str!("../../../topics.yaml");

/// What a topic is for. Code names roles; only `topics.yaml` names topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicRole {
    /// Images on their way to the detectors.
    Frames,
    /// What detectors said.
    Results,
    /// What rules raised.
    Alerts,
    /// Results for HTTP requests that wait.
    Replies,
    /// Frames that can never be processed.
    FramesDlq,
    /// Results that can never be processed.
    ResultsDlq,
}

impl TopicRole {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Frames, Self::Results, Self::Alerts, Self::Replies, Self::FramesDlq, Self::ResultsDlq];

    /// The role as the file spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Results => "results",
            Self::Alerts => "alerts",
            Self::Replies => "replies",
            Self::FramesDlq => "frames_dlq",
            Self::ResultsDlq => "results_dlq",
        }
    }

    /// Where messages of this role go that can never be processed. Only topics that a group consumes have such a place.
    pub const fn dead_letters(self) -> Option<Self> {
        match self {
            Self::Frames => Some(Self::FramesDlq),
            Self::Results => Some(Self::ResultsDlq),
            _ => None,
        }
    }
}

impl fmt::Display for TopicRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TopicRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|role| role.as_str()).collect();
            format!("{:?} is no role; there are {}", brief(&text), known.join(", "))
        })
    }
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// What it is for.
    pub role: TopicRole,
    /// Its name on the log.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// How long a message stays at least.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// Largest message, headers included.
    pub max_message_bytes: usize,
    /// What its key is, in words.
    pub key: String,
    /// CloudEvents type of what it carries.
    pub event: String,
    /// Who writes it.
    pub writers: Vec<String>,
    /// Who reads it.
    pub readers: Vec<String>,
}

/// All topics, one for each role. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics(Arc<[Topic]>);

/// Why a `topics.yaml` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicsError {
    /// It does not read.
    #[error("topics.yaml: {0}")]
    Syntax(String),
    /// It reads and makes no sense.
    #[error("topics.yaml, role {role}: {reason}")]
    Role {
        /// Which topic.
        role: TopicRole,
        /// What is wrong and what would be right.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    topics: Vec<Topic>,
}

impl Topics {
    /// Reads the text of a `topics.yaml`.
    ///
    /// # Errors
    /// When it does not read, a role is missing or there twice, a name is there twice, or numbers make no sense.
    pub fn parse(text: &str) -> Result<Self, TopicsError> {
        let File { topics } = serde_yaml_ng::from_str(text).map_err(|error| TopicsError::Syntax(brief(&error)))?;
        let wrong = |role, reason: &str| Err(TopicsError::Role { role, reason: reason.to_owned() });
        for topic in &topics {
            if topics.iter().filter(|other| other.name == topic.name).count() > 1 {
                return wrong(topic.role, "its name is used twice; give every role a topic of its own");
            }
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if topic.name.is_empty() || topic.name.len() > 249 || !topic.name.bytes().all(legal) {
                return wrong(topic.role, "name must be 1 to 249 characters out of A-Z a-z 0-9 . _ -");
            }
            if topic.partitions < 1 || topic.max_message_bytes < 1024 || topic.retention < Duration::from_secs(1) {
                return wrong(
                    topic.role,
                    "partitions must be 1 or more, max_message_bytes 1024 or more, retention 1s or more",
                );
            }
        }
        let mut ordered = Vec::with_capacity(TopicRole::ALL.len());
        for role in TopicRole::ALL {
            let mut of_role = topics.iter().filter(|topic| topic.role == role);
            match (of_role.next(), of_role.next()) {
                (Some(topic), None) => ordered.push(topic.clone()),
                (None, _) => return wrong(role, "is missing; every role needs a topic"),
                (Some(_), Some(_)) => return wrong(role, "is there twice; keep one"),
            }
        }
        let all = Self(ordered.into());
        if all.get(TopicRole::Alerts).partitions != 1 {
            return wrong(TopicRole::Alerts, "must have one partition: its order is total");
        }
        if all.get(TopicRole::Frames).partitions != all.get(TopicRole::Results).partitions {
            return wrong(TopicRole::Results, "must have as many partitions as frames");
        }
        Ok(all)
    }

    /// The topic of a role.
    pub fn get(&self, role: TopicRole) -> &Topic {
        // `parse` puts one topic per role, in the order of `TopicRole::ALL`, which is that of the enum.
        &self.0[role as usize]
    }

    /// All topics.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.0.iter()
    }

    /// The same topics with every name under a prefix: tests of one server stay apart by it.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        Self(self.0.iter().map(|topic| Topic { name: format!("{prefix}{}", topic.name), ..topic.clone() }).collect())
    }

    /// The same topics after `change` was applied to each.
    #[must_use]
    pub fn map(&self, change: impl Fn(&mut Topic)) -> Self {
        let mut topics = self.0.to_vec();
        topics.iter_mut().for_each(change);
        Self(topics.into())
    }
}

mod duration {
    //! `90s`, `15m`, `24h`, `7d`.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = duration.as_secs();
        let fitting = UNITS.into_iter().find(|(_, length)| seconds.is_multiple_of(*length));
        let (unit, length) = fitting.unwrap_or(("s", 1));
        serializer.collect_str(&format_args!("{}{unit}", seconds / length))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = UNITS.into_iter().find_map(|(unit, length)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(length)
        });
        read.map(Duration::from_secs)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is no duration like 90s, 15m, 24h or 7d")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_comes_with_the_product_is_sound() {
        let topics = Topics::parse(DEFAULT).unwrap();
        for role in TopicRole::ALL {
            assert_eq!(topics.get(role).role, role);
        }
        assert_eq!(topics.get(TopicRole::Alerts).retention, Duration::from_secs(7 * 86_400));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused_by_role() {
        for (from, to, expected) in [
            ("role: replies", "role: alerts", "twice"),
            ("name: sightline.replies", "name: sightline.alerts", "used twice"),
            ("partitions: 12", "partitions: 0", "partitions"),
            ("retention: 7d", "retention: soon", "no duration"),
            ("key: <tenant>\n", "key: <tenant>\n    colour: red\n", "colour"),
        ] {
            let error = Topics::parse(&DEFAULT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
    }
}
