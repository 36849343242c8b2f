//! Photographs that verify users: the message that names one, and the event with its outcome.
//!
//! A message is a bare JSON of any program, `{"username": …, "path": …}`. Its event is a CloudEvent like all others.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::event::{DecodeError, Event, Headers, Message, cloud_event, expect_type, json, shortened};
use crate::ids::{FrameId, TenantId, UserId};
use crate::topics::TopicRole;

/// A photograph of a user, as a file in the folder of uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaceUpload {
    /// User name or e-mail address.
    pub username: String,
    /// Path of the file, relative to the folder of uploads, or absolute and in it. Use another one for each upload.
    pub path: String,
    /// Id of the user. It counts instead of the name, which may become that of another user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

impl Event for FaceUpload {
    const ROLE: TopicRole = TopicRole::FacesUploads;
    const TYPE: &'static str = "sightline.face-upload.v1";

    fn to_message(&self) -> Message {
        Message { key: Some(self.username.clone().into()), headers: Headers::new(), value: json(self) }
    }

    /// Headers do not matter, and further fields are ignored: another program wrote the message.
    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(shortened(&error)))
    }
}

/// The outcome of an upload: at most one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaceVerifiedEvent {
    /// Id of the event, from [`Self::id_at`].
    pub id: Uuid,
    /// The user's tenant; `None` if there is no such user.
    pub tenant: Option<TenantId>,
    /// Payload.
    pub data: FaceVerifiedData,
}

/// The payload of an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaceVerifiedData {
    /// The name in the upload.
    pub username: String,
    /// The path in the upload.
    pub path: String,
    /// Id of the user; missing if there is none with the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Whether the photograph shows the user.
    pub verified: bool,
    /// The outcome.
    pub outcome: UploadOutcome,
    /// When that was decided.
    #[schema(value_type = String, format = DateTime)]
    pub decided_at: Timestamp,
}

impl FaceVerifiedEvent {
    /// The id of the outcome of the upload at this place, so that an event that is sent again has the same id.
    pub fn id_at(topic_id: &str, partition: i32, offset: i64) -> Uuid {
        FrameId::from_position(topic_id, partition, offset).uuid()
    }
}

impl Event for FaceVerifiedEvent {
    const ROLE: TopicRole = TopicRole::FacesVerified;
    const TYPE: &'static str = "sightline.face-verified.v1";

    fn to_message(&self) -> Message {
        let headers = cloud_event::<Self>(self.id, "/sightline/faces", self.data.decided_at, "application/json")
            .with_some("ce_subject", self.data.user_id)
            .with_some("ce_tenant", self.tenant.as_ref());
        Message { key: Some(self.data.username.clone().into()), headers, value: json(&self.data) }
    }

    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type::<Self>(headers)?;
        Ok(Self {
            id: headers.required("ce_id")?,
            tenant: headers.optional("ce_tenant")?,
            data: serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(shortened(&error)))?,
        })
    }
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The outcome of an upload. All but the first two refuse it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum UploadOutcome {
            $($(#[$doc])* $name,)*
        }

        impl UploadOutcome {
            /// All outcomes.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable code.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

outcomes! {
    /// It is the user's first photograph: its face is enrolled as the user's.
    Enrolled = "enrolled",
    /// It shows the person of the first photograph.
    Matched = "matched",
    /// It shows another person than the first photograph.
    AnotherPerson = "another_person",
    /// The first photograph was enrolled with another model, with which this one cannot be compared.
    OtherModel = "other_model",
    /// The person has given no consent, and this service requires it.
    ConsentMissing = "consent_missing",
    /// The user has as many subjects as `SIGHTLINE_FACES_SUBJECTS` allows.
    TooManySubjects = "too_many_subjects",
    /// No user has the name, or the user is disabled.
    UnknownUser = "unknown_user",
    /// The path leads out of the folder, or onto another file system.
    PathOutside = "path_outside",
    /// The path has a symbolic link.
    PathIsLink = "path_is_link",
    /// The path is not that of a regular file.
    NotAFile = "not_a_file",
    /// There is no such file.
    FileMissing = "file_missing",
    /// The service may not read the file.
    FileUnreadable = "file_unreadable",
    /// The file is larger than `SIGHTLINE_MAX_FRAME_BYTES`.
    FileTooLarge = "file_too_large",
    /// The file is no image that can be decoded.
    InvalidImage = "invalid_image",
    /// The image has more pixels than `SIGHTLINE_MAX_FRAME_PIXELS`, or a side of more than 65,535.
    ImageTooLarge = "image_too_large",
    /// The process ended five times while it decoded the image or ran the models.
    Crashed = "crashed",
    /// No face is found.
    NoFace = "no_face",
    /// More than one face is found.
    SeveralFaces = "several_faces",
    /// The face has no embedding.
    FaceNotComparable = "face_not_comparable",
    /// The face cannot be measured.
    FaceUnmeasurable = "face_unmeasurable",
    /// The face has too few pixels.
    FaceTooSmall = "face_too_small",
    /// The face has too little light.
    FaceTooDark = "face_too_dark",
    /// The face is overexposed.
    FaceTooBright = "face_too_bright",
    /// The image is not upright.
    FaceNotUpright = "face_not_upright",
    /// The face does not look at the camera.
    FaceTurned = "face_turned",
    /// The face is not sharp.
    FaceBlurred = "face_blurred",
}

impl UploadOutcome {
    /// Whether the photograph shows the user.
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::Enrolled | Self::Matched)
    }

    /// Whether it says something about the face that is enrolled as the user's, and so ends with it.
    pub const fn is_about_enrolled_face(self) -> bool {
        matches!(self, Self::Enrolled | Self::Matched | Self::AnotherPerson | Self::OtherModel)
    }
}

impl fmt::Display for UploadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UploadOutcome {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().copied().find(|outcome| outcome.as_str() == code);
        known.ok_or_else(|| format!("{:?} is not the outcome of an upload", shortened(&code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_outcome_is_the_one_in_json() {
        for outcome in UploadOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
            assert_eq!(outcome.as_str().parse::<UploadOutcome>().as_ref(), Ok(outcome));
        }
        assert!("verified".parse::<UploadOutcome>().is_err());
    }

    #[test]
    fn an_upload_of_another_program_is_read_and_a_broken_one_is_not() {
        let message = |value: &str| Message { key: None, headers: Headers::new(), value: value.to_owned().into() };
        let read = FaceUpload::from_message(&message(r#"{"username": "ann", "path": "a/1.jpg", "source": "kiosk"}"#));
        let expected = FaceUpload { username: "ann".to_owned(), path: "a/1.jpg".to_owned(), user_id: None };
        assert_eq!(read.unwrap(), expected);
        for broken in ["", "ann", "{}", r#"{"username": "ann"}"#, r#"{"username": 1, "path": "a"}"#, "\u{0}"] {
            assert!(FaceUpload::from_message(&message(broken)).is_err(), "{broken}");
        }
    }
}
