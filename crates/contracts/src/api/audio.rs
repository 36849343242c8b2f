//! Bodies of the routes of the audio pipeline: what an admin asks of it, providers, their calls, and the places that a search finds.
//!
//! How far a book is has the body of its event, [`MediaProgress`](crate::media::MediaProgress).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::ids::BookId;
use crate::media::MediaStep;
use crate::shop_states::named;

named!(
    /// A task that providers do.
    ProviderTask,
    "task of providers",
    2,
    {
        /// Speech becomes text.
        Transcribe => "transcribe",
        /// Text becomes a description.
        Describe => "describe",
    }
);

impl ProviderTask {
    /// The step in which it is done.
    pub const fn step(self) -> MediaStep {
        match self {
            Self::Transcribe => MediaStep::Transcribe,
            Self::Describe => MediaStep::Summarise,
        }
    }
}

named!(
    /// Whether a provider is asked.
    ProviderAvailability,
    "state of a provider",
    4,
    {
        /// It is asked.
        Ready => "ready",
        /// It is asked again later.
        Cooling => "cooling",
        /// An admin has disabled it.
        Disabled => "disabled",
        /// It refused its key, or cannot run where its worker is.
        Off => "off",
    }
);

named!(
    /// What an admin does with a provider.
    ProviderAction,
    "action on a provider",
    3,
    {
        /// It is asked again, at once.
        Enable => "enable",
        /// It is not asked any more.
        Disable => "disable",
        /// A worker calls it once, to see whether it works.
        Probe => "probe",
    }
);

/// How the work on a book goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineBody {
    /// The step with which it begins again, `transcribe`, `summarise` or `publish`; missing: the first one that is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<MediaStep>,
    /// The group of providers from now on; empty: all of them, as configured; missing: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What the book may cost from now on, in millionths of the currency's unit; missing: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub budget_micro: Option<i64>,
    /// How long the request waits for the book, in seconds; 30 if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 30)]
    pub wait_seconds: Option<u8>,
}

/// A provider of the audio pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderView {
    /// What it does.
    pub task: ProviderTask,
    /// Its name.
    pub name: String,
    /// Its group, such as `local`.
    pub group: String,
    /// Its kind: `whisper`, `extract` or `openai`.
    pub kind: String,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where its server is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whether it is asked.
    pub state: ProviderAvailability,
    /// Until when it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cools_until: Option<Timestamp>,
    /// Why it is not asked, or what failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// How it answered when an admin had it tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<ProviderTrialView>,
}

/// How a provider answered when an admin had it tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderTrialView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether it works.
    pub works: bool,
    /// How it does, or why it does not.
    pub answer: String,
}

/// An order of providers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderOrderBody {
    /// The task.
    pub task: ProviderTask,
    /// The names, the first one first. Those that are missing come after them, as in the operator's file.
    pub names: Vec<String>,
}

/// A call of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderCallView {
    /// Id of the call.
    pub id: Uuid,
    /// The book; missing for a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub book: Option<BookId>,
    /// The step.
    pub step: MediaStep,
    /// The window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// The provider.
    pub provider: String,
    /// Its group.
    pub group: String,
    /// Its model.
    pub model: String,
    /// `reserved`, `settled`, or `unknown`: nobody knows how it ended, and what was reserved counts as spent.
    pub state: String,
    /// What came of it, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The currency of the amounts; missing for a provider without a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What it costs or may cost, in millionths of the currency's unit.
    pub cost_micro: i64,
    /// Sound of the call, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_ms: Option<u64>,
    /// Tokens that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens that were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// The id that the provider gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub called_at: Timestamp,
}

/// A place in a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PassageView {
    /// Its start in the recording, in milliseconds.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// What is said.
    pub text: String,
    /// How close it is to what was asked for, from 0 to 1.
    pub score: f32,
}
