//! One upload: the file is read, the face compared or enrolled, the outcome stored, its event sent, the file deleted. In this order, so
//! that a process that ends anywhere in between goes on there when the message is delivered again.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use bus::Delivery;
use bytes::Bytes;
use consumer_kit::{HandleError, Handler, Sender};
use contracts::face_upload::FaceVerifiedData;
use contracts::{Event, FaceUpload, FaceVerifiedEvent, SubjectId, UploadOutcome, UserId};
use gallery::Embedding;
use jiff::Timestamp;
use metrics::counter;
use sha2::{Digest, Sha256};
use store::StoreError;
use store::relational::{DecidedUpload, NewUpload, UploadDecision, UploadPlace, UploadedFace};
use uuid::Uuid;
use vision::face_quality::QualityLimits;
use vision::pipeline::Failure;

use super::Verifier;
use super::folder::{FileId, ReadError, UploadFolder, UploadedFile};
use super::waiting::Waiting;
use crate::checks::{DEFAULT_RATE, ImageRefusal, one_face, quality};
use crate::current_model::{CurrentModel, NoCurrentModel};
use crate::encoder::EncodeError;
use crate::vector_ids;

/// Handles the messages of the topic of uploads.
pub struct VerifyUploads {
    /// Database and models.
    pub verifier: Verifier,
    /// Where the files are.
    pub folder: Arc<UploadFolder>,
    /// Id of the topic.
    pub topic_id: String,
    /// Sends the events.
    pub sender: Sender,
    /// Why uploads wait.
    pub waiting: Waiting,
    /// The last upload that this process counted as begun.
    pub begun: Option<UploadPlace>,
}

/// Ends of the process at an upload after which it is given up. Nothing tells `kill -9` from a crash of a decoder, only the number.
const MAX_ENDS: i64 = 5;

#[async_trait]
impl Handler for VerifyUploads {
    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandleError> {
        let handled = self.handle_once(delivery).await;
        self.waiting.note(&handled);
        handled
    }
}

impl VerifyUploads {
    async fn handle_once(&mut self, delivery: &Delivery) -> Result<(), HandleError> {
        let upload = FaceUpload::from_message(&delivery.message)
            .map_err(|error| HandleError::permanent("undecodable", &error))?;
        let place = UploadPlace {
            topic_id: self.topic_id.clone(),
            partition: delivery.position.partition,
            offset: delivery.position.offset,
        };
        let known = self.verifier.database.upload_outcome(&place).await.map_err(of_store)?;
        let (decision, file) = match known {
            Some(decided) => (UploadDecision::Decided(decided.clone()), decided.file),
            None => self.decide(&place, &upload).await?,
        };
        match decision {
            UploadDecision::Decided(decided) => {
                counter!("sightline_faces_uploads_total", "outcome" => decided.outcome.as_str()).increment(1);
                self.publish(&place, &upload, decided).await?;
            }
            // Its outcome is stored and is sent by the delivery of the other one.
            UploadDecision::Copy => counter!("sightline_faces_uploads_total", "outcome" => "copy").increment(1),
            // `decide` has returned it as a failure that is tried again.
            UploadDecision::ModelChanged => {}
        }
        match file {
            Some(file) => self.delete(upload.path, FileId::stored(file)).await,
            None => Ok(()),
        }
    }

    /// Stores the outcome. Also returns which file may be deleted now.
    async fn decide(
        &mut self,
        place: &UploadPlace,
        upload: &FaceUpload,
    ) -> Result<(UploadDecision, Option<String>), HandleError> {
        let user = self.user(upload).await?;
        let read = self.read(upload.path.clone()).await?;
        let file = match &read {
            Ok(file) => Some(file.id.clone()),
            Err((_, id)) => id.clone(),
        };
        let new =
            NewUpload { place: place.clone(), message: message_hash(upload), file: file.map(|id| id.to_string()) };
        let found = match (user, read) {
            (Some(_), Ok(file)) => self.face(place, file).await?,
            (None, _) => Err(UploadOutcome::UnknownUser),
            (Some(_), Err((outcome, _))) => Err(outcome),
        };
        let (database, now) = (&self.verifier.database, Timestamp::now());
        let decision = match (user, found) {
            (Some(user), Ok(face)) => database.decide_upload(&new, user, &face, now).await,
            (None, Ok(_)) => database.refuse_upload(&new, None, UploadOutcome::UnknownUser, now).await,
            (user, Err(outcome)) => database.refuse_upload(&new, user, outcome, now).await,
        };
        let decision = decision.map_err(of_store)?;
        let file = match &decision {
            UploadDecision::Decided(decided) => decided.file.clone(),
            UploadDecision::Copy => new.file,
            UploadDecision::ModelChanged => {
                return Err(failed(&"the model that compares faces was changed meanwhile"));
            }
        };
        Ok((decision, file))
    }

    /// The user, if there is one who is not disabled.
    async fn user(&self, upload: &FaceUpload) -> Result<Option<UserId>, HandleError> {
        let found = match upload.user_id {
            Some(id) => self.verifier.database.user(id).await,
            None => self.verifier.database.user_named(&upload.username).await,
        };
        Ok(found.map_err(of_store)?.filter(|user| !user.disabled).map(|user| user.id))
    }

    async fn read(&self, path: String) -> Result<Result<UploadedFile, (UploadOutcome, Option<FileId>)>, HandleError> {
        let folder = Arc::clone(&self.folder);
        match tokio::task::spawn_blocking(move || folder.read(&path)).await.map_err(|error| failed(&error))? {
            Ok(file) => Ok(Ok(file)),
            Err(ReadError::Refused(outcome, id)) => Ok(Err((outcome, id))),
            Err(ReadError::Failed(error)) => {
                Err(failed(&format_args!("a file of the uploads cannot be read: {error}")))
            }
        }
    }

    /// The one face of an image.
    async fn face(
        &mut self,
        place: &UploadPlace,
        UploadedFile { bytes: encoded, written_at, .. }: UploadedFile,
    ) -> Result<Result<UploadedFace, UploadOutcome>, HandleError> {
        let Verifier { database, encoders } = &self.verifier;
        let current = CurrentModel::read(database, encoders).await.map_err(|error| match error {
            NoCurrentModel::Store(error) => of_store(error),
            NoCurrentModel::Encode(error) => unusable(&error),
        })?;
        if self.begun.as_ref() != Some(place) {
            let begun = database.begin_upload(place, Timestamp::now()).await.map_err(of_store)?;
            if begun > MAX_ENDS {
                return Ok(Err(UploadOutcome::Crashed));
            }
            self.begun = Some(place.clone());
        }
        let faces = match current.encoder.faces_to_enrol(encoded.clone(), &QualityLimits::default()).await {
            Ok(faces) => faces,
            Err(EncodeError::Image(Failure { code, message })) => {
                return Ok(Err(outcome_of(&ImageRefusal::Image { code, message })));
            }
            Err(error) => return Err(unusable(&error)),
        };
        let checked = one_face(faces).and_then(|(face, embedding)| quality(&face).map(|_| embedding));
        let embedding = match checked {
            Ok(embedding) => embedding,
            Err(refused) => return Ok(Err(outcome_of(&refused))),
        };
        let CurrentModel { model, target, .. } = current;
        let threshold = model.calibration.threshold_for(DEFAULT_RATE).map_err(|error| failed(&error))?;
        let subject = SubjectId::from_uuid(Uuid::now_v7());
        let vector = vector_ids::of_image(subject, &model.name, &encoded);
        let target_embedding = match &target {
            Some(target) => self.target_embedding(target, encoded).await,
            None => None,
        };
        let model = model.name;
        Ok(Ok(UploadedFace { model, embedding, target, target_embedding, threshold, written_at, subject, vector }))
    }

    /// The embedding of the model to which it is being changed. Without one, the face is enrolled all the same, and the change says what it
    /// misses.
    async fn target_embedding(&self, target: &str, encoded: Bytes) -> Option<Embedding> {
        match self.verifier.encoders.of(target).faces(encoded).await {
            Ok(faces) => one_face(faces).ok().map(|(_, embedding)| embedding),
            Err(error) => {
                tracing::warn!(error = error.to_string(), model = %target, "a face has no vector of the new model yet");
                None
            }
        }
    }

    async fn publish(
        &self,
        place: &UploadPlace,
        upload: &FaceUpload,
        decided: DecidedUpload,
    ) -> Result<(), HandleError> {
        let DecidedUpload { outcome, user, decided_at, .. } = decided;
        let (user_id, tenant) = user.unzip();
        let data = FaceVerifiedData {
            username: upload.username.clone(),
            path: upload.path.clone(),
            user_id,
            verified: outcome.is_verified(),
            outcome,
            decided_at,
        };
        let id = FaceVerifiedEvent::id_at(&place.topic_id, place.partition, place.offset);
        let event = FaceVerifiedEvent { id, tenant, data };
        match self.sender.send(FaceVerifiedEvent::ROLE, event.to_message()).await {
            Ok(None) => Ok(()),
            Ok(Some(too_large)) => {
                let error = too_large.error;
                tracing::error!(%error, event.id = %id, "an outcome is not sent; raise the topic's max_message_bytes");
                Ok(())
            }
            Err(interrupted) => Err(failed(&format_args!("{:#}", interrupted.into_error()))),
        }
    }

    async fn delete(&self, path: String, id: FileId) -> Result<(), HandleError> {
        let folder = Arc::clone(&self.folder);
        let deleted =
            tokio::task::spawn_blocking(move || folder.delete(&path, &id)).await.map_err(|error| failed(&error))?;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&format_args!("a file of the uploads cannot be deleted: {error}"))),
        }
    }
}

/// What is tried again.
fn failed(error: &dyn Display) -> HandleError {
    HandleError::Transient(error.to_string())
}

/// A row that no attempt can read or store must not hold up the messages after this one. Its file stays, so that the dead letter can be sent
/// again. What the operator must mend concerns all messages, so they wait.
fn of_store(error: StoreError) -> HandleError {
    match error {
        StoreError::Fatal(reason) => HandleError::permanent("unstorable", &reason),
        StoreError::Unavailable(reason) | StoreError::DiskFull(reason) | StoreError::Misconfigured(reason) => {
            failed(&reason)
        }
    }
}

/// The same of the models, with its causes.
fn unusable(error: &EncodeError) -> HandleError {
    match error {
        EncodeError::Internal(cause) => failed(&format_args!("{cause:#}")),
        other => failed(other),
    }
}

/// The outcome with the code that a request with such an image gets.
fn outcome_of(refused: &ImageRefusal) -> UploadOutcome {
    refused.code().parse().unwrap_or(UploadOutcome::InvalidImage)
}

/// What two copies of a message have in common.
fn message_hash(upload: &FaceUpload) -> [u8; 32] {
    let user_id = upload.user_id.map(|id| id.to_string()).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [&user_id, &upload.username, &upload.path] {
        // With its length, so that no two lists of parts run together.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use contracts::FailureCode;
    use vision::face_quality::FaceFault;

    use super::*;

    #[test]
    fn every_refusal_of_an_image_is_an_outcome() {
        let image = |code| ImageRefusal::Image { code, message: String::new() };
        let refusals = [
            ImageRefusal::FaceCount(0),
            ImageRefusal::FaceCount(2),
            ImageRefusal::NotComparable,
            image(FailureCode::Undecodable),
            image(FailureCode::TooLarge),
            ImageRefusal::Fault(FaceFault::Unmeasurable("it has no box")),
            ImageRefusal::Fault(FaceFault::TooSmall { size: 1.0, least: 2.0 }),
            ImageRefusal::Fault(FaceFault::TooDark { brightness: 0.0, least: 0.1 }),
            ImageRefusal::Fault(FaceFault::TooBright { brightness: 1.0, most: 0.9 }),
            ImageRefusal::Fault(FaceFault::Blurred { sharpness: 0.1, least: 0.75 }),
        ];
        let outcomes = refusals.iter().map(|refused| (refused.code(), outcome_of(refused).as_str()));
        for (code, outcome) in outcomes {
            assert_eq!(code, outcome);
        }
    }

    #[test]
    fn only_what_a_retry_may_mend_is_tried_again() {
        let text = || "the store says no".to_owned();
        for error in [StoreError::Unavailable, StoreError::DiskFull, StoreError::Misconfigured].map(|of| of(text())) {
            assert!(matches!(of_store(error), HandleError::Transient(reason) if reason == text()));
        }
        let HandleError::Permanent(cause) = of_store(StoreError::Fatal(text())) else { panic!("it is tried again") };
        assert_eq!((cause.code.as_str(), cause.message), ("unstorable", text()));
    }

    #[test]
    fn copies_of_a_message_have_one_hash_and_other_messages_another() {
        let upload = |username: &str, path: &str| {
            let (username, path) = (username.to_owned(), path.to_owned());
            message_hash(&FaceUpload { username, path, user_id: None })
        };
        assert_eq!(upload("ann", "a.jpg"), upload("ann", "a.jpg"));
        for other in [upload("ann", "b.jpg"), upload("ben", "a.jpg"), upload("anna", ".jpg"), upload("", "anna.jpg")] {
            assert_ne!(upload("ann", "a.jpg"), other);
        }
    }
}
