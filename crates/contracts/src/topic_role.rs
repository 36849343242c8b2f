//! The roles of topics.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::shortened;

/// What a topic is for. Code names roles; only `topics.yaml` names topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum TopicRole {
    /// Frames for the detectors.
    Frames,
    /// Results of detectors.
    Results,
    /// Alerts of rules.
    Alerts,
    /// Results for HTTP requests that wait for them.
    Replies,
    /// Frames that can never be processed.
    FramesDlq,
    /// Results that can never be processed.
    ResultsDlq,
    /// Photographs that verify users.
    FacesUploads,
    /// Outcomes of these photographs.
    FacesVerified,
    /// Uploads that cannot be read.
    FacesUploadsDlq,
    /// Steps and windows of books for the audio workers. The roles of audio stay the last ones: without audio, their topics are left out.
    MediaTasks,
    /// How far books are.
    MediaProgress,
    /// Tasks that cannot be read.
    MediaTasksDlq,
}

impl TopicRole {
    /// All roles.
    pub const ALL: [Self; 12] = [
        Self::Frames,
        Self::Results,
        Self::Alerts,
        Self::Replies,
        Self::FramesDlq,
        Self::ResultsDlq,
        Self::FacesUploads,
        Self::FacesVerified,
        Self::FacesUploadsDlq,
        Self::MediaTasks,
        Self::MediaProgress,
        Self::MediaTasksDlq,
    ];

    /// The role as written in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Results => "results",
            Self::Alerts => "alerts",
            Self::Replies => "replies",
            Self::FramesDlq => "frames_dlq",
            Self::ResultsDlq => "results_dlq",
            Self::FacesUploads => "faces_uploads",
            Self::FacesVerified => "faces_verified",
            Self::FacesUploadsDlq => "faces_uploads_dlq",
            Self::MediaTasks => "media_tasks",
            Self::MediaProgress => "media_progress",
            Self::MediaTasksDlq => "media_tasks_dlq",
        }
    }

    /// The role of the dead-letter topic. Only topics that a consumer group reads have one.
    pub const fn dead_letters(self) -> Option<Self> {
        match self {
            Self::Frames => Some(Self::FramesDlq),
            Self::Results => Some(Self::ResultsDlq),
            Self::FacesUploads => Some(Self::FacesUploadsDlq),
            Self::MediaTasks => Some(Self::MediaTasksDlq),
            _ => None,
        }
    }

    /// Whether only audio uses the topic. Without audio nobody creates, opens or expects it.
    pub const fn is_of_audio(self) -> bool {
        matches!(self, Self::MediaTasks | Self::MediaProgress | Self::MediaTasksDlq)
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
            format!("{:?} is not a role; the roles are {}", shortened(&text), known.join(", "))
        })
    }
}

impl TryFrom<String> for TopicRole {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
