//! Steps and windows of audiobooks: the task for an audio worker, and the event that says how far a book is.
//!
//! A task has ids only. What it does is stored in the database before it is finished, and a repeat finds it there, so a task may come twice,
//! late, or never: what is due in the database is published again.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::event::{DecodeError, Event, Message, cloud_event, expect_type, json, shortened};
use crate::ids::{BookId, task_id};
use crate::shop_states::named;
use crate::topics::TopicRole;

named!(
    /// A step of the work on a book, in their order.
    MediaStep,
    "step of a book",
    5,
    {
        /// The file is awaited.
        Upload => "upload",
        /// Speech becomes text, window by window.
        Transcribe => "transcribe",
        /// Text becomes a description, categories, and sentences that are searched.
        Summarise => "summarise",
        /// The preview is made, and the book is offered.
        Publish => "publish",
        /// Nothing is left to be done.
        Done => "done",
    }
);

named!(
    /// State of the work on a step.
    PipelineState,
    "state of a pipeline",
    5,
    {
        /// A worker is to begin it.
        Due => "due",
        /// A worker has begun it.
        Running => "running",
        /// It goes on by itself, later or after what it waits for.
        Waiting => "waiting",
        /// It goes on after an admin has resumed it.
        Failed => "failed",
        /// It is done.
        Done => "done",
    }
);

impl MediaStep {
    /// The step after this one; the last one stays.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Upload => Self::Transcribe,
            Self::Transcribe => Self::Summarise,
            Self::Summarise => Self::Publish,
            Self::Publish | Self::Done => Self::Done,
        }
    }
}

/// What a worker is to do: a step of a book, or one window of the transcription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct MediaTask {
    /// The book.
    pub book: BookId,
    /// The run of the steps; a task of an earlier one is ignored.
    pub generation: u32,
    /// The step.
    pub step: MediaStep,
    /// The window; missing for the step itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
}

impl MediaTask {
    /// The id of its event: the same task has the same id, however often it is published.
    pub fn id(&self) -> Uuid {
        let window = self.window.map_or_else(String::new, |window| window.to_string());
        task_id(&[&self.book.to_string(), &self.generation.to_string(), self.step.as_str(), &window])
    }

    /// The key of its message: windows of a book are spread over the partitions, and its steps keep their order.
    pub fn key(&self) -> String {
        match self.window {
            Some(window) => format!("{}/{window}", self.book),
            None => self.book.to_string(),
        }
    }
}

/// A task on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaTaskEvent {
    /// Payload.
    pub task: MediaTask,
    /// When it was published.
    pub published_at: Timestamp,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Event for MediaTaskEvent {
    const ROLE: TopicRole = TopicRole::MediaTasks;
    const TYPE: &'static str = "sightline.media-task.v1";

    fn to_message(&self) -> Message {
        let headers = cloud_event::<Self>(self.task.id(), "/sightline/audio", self.published_at, "application/json")
            .with("ce_subject", self.task.book)
            .with_some("ce_traceparent", self.traceparent.as_ref());
        Message { key: Some(self.task.key().into()), headers, value: json(&self.task) }
    }

    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type::<Self>(headers)?;
        Ok(Self {
            task: serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(shortened(&error)))?,
            published_at: headers.required("ce_time")?,
            traceparent: headers.optional("ce_traceparent")?,
        })
    }
}

/// How far a book is, as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaProgressEvent {
    /// Id of the event.
    pub id: Uuid,
    /// Payload.
    pub data: MediaProgress,
}

/// How far a book is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MediaProgress {
    /// The book.
    pub book: BookId,
    /// The run of the steps: one more after each redo and each new file.
    pub generation: u32,
    /// The first step that is not done.
    pub step: MediaStep,
    /// State of the work on it.
    pub state: PipelineState,
    /// One more with each change. An event with a lower one is older.
    pub revision: i64,
    /// Windows that are transcribed.
    pub windows_done: u32,
    /// All windows; missing before they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows_total: Option<u32>,
    /// The provider that was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the book has cost, in each currency.
    pub cost: Vec<ProviderCost>,
    /// Why it waits or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<PipelineCause>,
    /// When it goes on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resumes_at: Option<Timestamp>,
    /// When that was.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// What was spent in a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderCost {
    /// The currency, as its code of ISO 4217.
    pub currency: String,
    /// Millionths of its unit. What a call that was cut off may have cost is in it.
    pub micro: i64,
}

/// Why a book waits or has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PipelineCause {
    /// Stable code.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub action: String,
}

impl Event for MediaProgressEvent {
    const ROLE: TopicRole = TopicRole::MediaProgress;
    const TYPE: &'static str = "sightline.media-progress.v1";

    fn to_message(&self) -> Message {
        let headers = cloud_event::<Self>(self.id, "/sightline/audio", self.data.at, "application/json")
            .with("ce_subject", self.data.book);
        Message { key: Some(self.data.book.to_string().into()), headers, value: json(&self.data) }
    }

    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type::<Self>(headers)?;
        Ok(Self {
            id: headers.required("ce_id")?,
            data: serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(shortened(&error)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(window: Option<u32>) -> MediaTask {
        let book = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        MediaTask { book, generation: 1, step: MediaStep::Transcribe, window }
    }

    #[test]
    fn steps_follow_one_another_to_the_end() {
        let steps: Vec<MediaStep> = MediaStep::ALL.into_iter().map(MediaStep::next).collect();
        assert_eq!(steps[..4], MediaStep::ALL[1..]);
        assert_eq!(MediaStep::Done.next(), MediaStep::Done);
        assert!(MediaStep::ALL.is_sorted());
    }

    #[test]
    fn a_task_has_one_id_and_its_windows_have_keys_of_their_own() {
        assert_eq!(task(Some(3)).id(), task(Some(3)).id());
        let others = [task(None), task(Some(4)), MediaTask { generation: 2, ..task(Some(3)) }];
        assert!(others.iter().all(|other| other.id() != task(Some(3)).id()));
        assert_eq!(task(Some(3)).key(), "01890a5d-ac96-774b-bcce-b302099a8057/3");
        assert_eq!(task(None).key(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn a_task_with_a_step_that_nobody_knows_is_refused() {
        let mut message =
            MediaTaskEvent { task: task(None), published_at: Timestamp::UNIX_EPOCH, traceparent: None }.to_message();
        message.value = String::from_utf8(message.value.to_vec()).unwrap().replace("transcribe", "translate").into();
        let error = MediaTaskEvent::from_message(&message).unwrap_err().to_string();
        assert!(error.contains("translate"), "{error}");
    }
}
