//! The stored form of a result.

use std::borrow::Cow;

use contracts::result::{FailureCode, ResultData};
use contracts::{Detection, Outcome, ResultEvent};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{detections_of, expiry, parsed, result_id, time, unreadable};
use crate::{Indexed, StoreError, StoredResult};

/// Length of a frame id, a hyphenated UUID, in bytes.
const FRAME_LENGTH: usize = 36;

/// A stored result, without its detections.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResultDoc<'a> {
    /// `<frame id>-<detector>`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) ce_id: String,
    pub(crate) tenant: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<Cow<'a, str>>,
    pub(crate) at: i64,
    #[serde(with = "expiry")]
    pub(crate) expires_at: Timestamp,
    indexed_at: i64,
    processed_at: i64,
    key: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Cow<'a, str>>,
    model: Cow<'a, str>,
    /// Number of detections that are kept as long as the result: all, unless those of strangers expire before it.
    pub(crate) count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<[u32; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureDoc<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailureDoc<'a> {
    code: FailureCode,
    message: Cow<'a, str>,
}

impl<'a> ResultDoc<'a> {
    pub(crate) fn of(indexed: &'a Indexed) -> Self {
        // A result has nothing to say after its last detection.
        let detections = detections_of(&indexed.result).iter();
        let ends: Vec<Timestamp> = detections.map(|detection| indexed.expiry_of(&detection.attributes)).collect();
        let expires_at = ends.iter().max().copied().unwrap_or(indexed.expires_at);
        // The retention is in `expires_at`.
        let ResultEvent { id, tenant, key, traceparent, reply_to, retention: _, data } = &indexed.result;
        let (size, image, failure) = match &data.outcome {
            Outcome::Ok { width, height, image, .. } => (Some([*width, *height]), image.as_ref(), None),
            Outcome::Failed { code, message } => {
                (None, None, Some(FailureDoc { code: *code, message: message.into() }))
            }
        };
        Self {
            id: result_id(&data.frame_id, &data.detector),
            ce_id: id.to_string(),
            tenant: tenant.as_str().into(),
            stream: data.stream.as_ref().map(|stream| stream.as_str().into()),
            at: data.captured_at.as_microsecond(),
            expires_at,
            indexed_at: indexed.indexed_at.as_microsecond(),
            processed_at: data.processed_at.as_microsecond(),
            key: key.into(),
            traceparent: traceparent.as_deref().map(Cow::from),
            reply_to: reply_to.as_deref().map(Cow::from),
            model: data.model.as_str().into(),
            count: u32::try_from(ends.iter().filter(|end| **end == expires_at).count()).unwrap_or(u32::MAX),
            size,
            image: image.map(|key| key.to_string().into()),
            failure,
        }
    }

    /// Whether the outcome is a failure.
    pub(crate) fn is_failure(&self) -> bool {
        self.failure.is_some()
    }

    /// The frame id as text.
    pub(crate) fn frame(&self) -> &str {
        self.id.get(..FRAME_LENGTH).unwrap_or(&self.id)
    }

    /// The result, joined with its detections.
    pub(crate) fn into_stored(self, detections: Vec<Detection>) -> Result<StoredResult, StoreError> {
        let invalid = |what: &dyn std::fmt::Display| unreadable("result", &self.id, what);
        let (frame, detector) =
            self.id.split_at_checked(FRAME_LENGTH).ok_or_else(|| invalid(&"its id is too short"))?;
        let detector = detector.strip_prefix('-').unwrap_or(detector);
        let outcome = match self.failure {
            Some(FailureDoc { code, message }) => Outcome::Failed { code, message: message.into_owned() },
            None => {
                let [width, height] = self.size.unwrap_or_default();
                // An external producer's result may have another text: no image has such a key.
                let image = self.image.and_then(|key| key.parse().ok());
                Outcome::Ok { width, height, detections, image }
            }
        };
        let data = ResultData {
            frame_id: frame.parse().map_err(|error| invalid(&error))?,
            stream: parsed(self.stream.as_deref()).map_err(|error| invalid(&error))?,
            detector: detector.parse().map_err(|error| invalid(&error))?,
            model: self.model.into_owned(),
            captured_at: time(self.at).map_err(|error| invalid(&error))?,
            processed_at: time(self.processed_at).map_err(|error| invalid(&error))?,
            outcome,
        };
        let result = ResultEvent {
            id: self.ce_id.parse().map_err(|error| invalid(&error))?,
            tenant: self.tenant.parse().map_err(|error| invalid(&error))?,
            key: self.key.into_owned(),
            traceparent: self.traceparent.map(Cow::into_owned),
            reply_to: self.reply_to.map(Cow::into_owned),
            retention: None,
            data,
        };
        Ok(StoredResult { result, indexed_at: time(self.indexed_at).map_err(|error| invalid(&error))? })
    }
}
