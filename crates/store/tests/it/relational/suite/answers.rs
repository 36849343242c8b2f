//! Cached answers about users: each ends with every change of the user's faces, which any instance makes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use contracts::api::Consent;
use contracts::{SubjectId, TenantId, UploadOutcome, UserId, VectorId};
use futures::future::BoxFuture;
use gallery::GalleryKey;
use gallery::suite::{face, subject};
use store::Relational;
use store::relational::{
    ANSWER_LIFE, AnswerCache, CachedAnswer, LocalAnswers, MergeOutcome, PhotoStatus, SubjectChange,
    SubjectWriteOutcome, UploadDecision, UserWriteOutcome, VectorWriteOutcome,
};

use super::faces::subject_with_id;
use super::uploads::{Shown, photographed, shown, upload};
use crate::relational::{TwoStores, later, named, now};

const NOTHING: Shown = (false, None);
const ENROLLED: Shown = (true, Some(UploadOutcome::Enrolled));

/// A user, and two instances that share a cache.
struct Asked {
    one: Relational,
    other: Relational,
    answers: Arc<LocalAnswers>,
    user: UserId,
    tenant: TenantId,
}

impl Asked {
    async fn on(two: &TwoStores) -> Self {
        let answers: Arc<LocalAnswers> = Arc::default();
        let with = |store: &Relational| store.clone().with_answers(answers.clone());
        let (one, other, new) = (with(&two.one), with(&two.other), named("ann"));
        assert_eq!(one.add_user(&new, now()).await.unwrap(), UserWriteOutcome::Stored);
        Self { one, other, answers, user: new.id, tenant: TenantId::from_uuid(new.tenant) }
    }

    fn key(&self) -> String {
        format!("verified:{}", self.tenant)
    }

    async fn cached(&self) -> Option<String> {
        self.answers.get(&self.key()).await.unwrap().answer
    }

    /// Checks what both instances answer, and that the answer is cached then.
    async fn expect(&self, expected: Shown, after: &str) {
        for store in [&self.one, &self.other] {
            assert_eq!(shown(store, self.user, &self.tenant).await, expected, "after {after}");
        }
        assert!(self.cached().await.is_some(), "after {after} nothing is cached");
    }

    /// Refuses the photograph with this number.
    async fn refuse(&self, number: u8, outcome: UploadOutcome) {
        let upload = upload(i64::from(number), number, Some("a"));
        let refused = self.other.refuse_upload(&upload, Some(self.user), outcome, now()).await.unwrap();
        assert!(matches!(refused, UploadDecision::Decided(_)), "{refused:?}");
    }

    /// Enrols the face of the photograph with this number. Returns the subject and the vector that were proposed for it.
    async fn enrol(&self, number: u8) -> (SubjectId, VectorId) {
        let (upload, face) = (upload(i64::from(number), number, Some("a")), photographed(u128::from(number)));
        let decision = self.other.decide_upload(&upload, self.user, &face, now()).await.unwrap();
        let UploadDecision::Decided(decided) = decision else { panic!("it has no outcome: {decision:?}") };
        assert_eq!(decided.outcome, UploadOutcome::Enrolled);
        (face.subject, face.vector)
    }
}

pub async fn every_change_of_a_users_faces_ends_the_cached_answer(two: &TwoStores) {
    let asked = Asked::on(two).await;
    let (other, tenant) = (&asked.other, &asked.tenant);
    asked.expect(NOTHING, "the registration").await;
    asked.refuse(10, UploadOutcome::NoFace).await;
    asked.expect((false, Some(UploadOutcome::NoFace)), "a photograph without a face").await;
    let (first, vector) = asked.enrol(1).await;
    asked.expect(ENROLLED, "the first photograph").await;

    assert!(other.remove_enrolled(tenant, first, vector, now()).await.unwrap());
    asked.expect(NOTHING, "the deletion of its face").await;

    // Into a subject that has faces; none moves.
    let added = other.add_subject(tenant, None, &subject_with_id(subject(7)), now()).await.unwrap();
    assert_eq!(added, SubjectWriteOutcome::Stored);
    let gallery = GalleryKey { tenant: tenant.clone(), model: photographed(1).model };
    assert_eq!(other.put_vectors(&gallery, &[face(70, 7)], now()).await.unwrap(), VectorWriteOutcome::Stored);
    asked.expect(NOTHING, "the enrolment of another subject").await;
    assert_eq!(other.merge_subjects(tenant, first, subject(7), now()).await.unwrap(), MergeOutcome::Merged(0));
    asked.expect(ENROLLED, "a merge").await;

    let consent = Consent { given_at: now(), until: Some(later()), reference: None };
    let consent = SubjectChange { consent: Some(Some(consent)), ..SubjectChange::default() };
    let changed = other.change_subject(tenant, subject(7), &consent, now()).await.unwrap();
    assert_eq!(changed, SubjectWriteOutcome::Stored);
    assert_eq!(other.end_consent(tenant, subject(7), later()).await.unwrap(), 1);
    asked.expect(NOTHING, "the end of a consent").await;

    asked.enrol(2).await;
    asked.expect(ENROLLED, "a photograph under another consent").await;
    other.delete_subject(tenant, subject(7), now()).await.unwrap().unwrap();
    asked.expect(NOTHING, "the deletion of the subject").await;

    asked.enrol(3).await;
    asked.expect(ENROLLED, "a new first photograph").await;
    other.erase_faces(tenant).await.unwrap();
    asked.expect(NOTHING, "the erasure of all faces").await;

    asked.enrol(4).await;
    asked.expect(ENROLLED, "another first photograph").await;
    asked.refuse(11, UploadOutcome::FaceBlurred).await;
    asked.expect((true, Some(UploadOutcome::FaceBlurred)), "a later photograph that is refused").await;
    assert!(other.delete_user(asked.user, now(), later()).await.unwrap());
    assert_eq!(asked.cached().await, None, "it is deleted with the user");
}

pub async fn an_answer_is_used_until_it_is_forgotten(two: &TwoStores) {
    let asked = Asked::on(two).await;
    asked.enrol(1).await;
    asked.expect(ENROLLED, "the first photograph").await;
    // By a handle that has no cache, and so forgets nothing.
    let (refused, no_face) = (upload(2, 2, None), UploadOutcome::NoFace);
    two.one.refuse_upload(&refused, Some(asked.user), no_face, now()).await.unwrap();
    asked.expect(ENROLLED, "a change that no cache knows").await;
    // What an earlier version stored, which had the same key.
    let forgotten = asked.answers.get(&asked.key()).await.unwrap().forgotten;
    asked.answers.put(&asked.key(), "no", forgotten, ANSWER_LIFE).await;
    asked.expect((true, Some(no_face)), "an answer that cannot be read").await;
}

/// A cache in which a change comes between the reading of an answer and its storage.
struct ChangedMeanwhile {
    answers: Arc<LocalAnswers>,
    change: Mutex<Option<BoxFuture<'static, ()>>>,
}

#[async_trait]
impl AnswerCache for ChangedMeanwhile {
    async fn get(&self, key: &str) -> Option<CachedAnswer> {
        self.answers.get(key).await
    }

    async fn put(&self, key: &str, answer: &str, forgotten: u64, life: Duration) {
        assert!(life <= ANSWER_LIFE && life > ANSWER_LIFE / 2, "{life:?}");
        let change = self.change.lock().unwrap().take();
        if let Some(change) = change {
            change.await;
        }
        self.answers.put(key, answer, forgotten, life).await;
    }

    async fn forget(&self, key: &str) {
        self.answers.forget(key).await;
    }
}

pub async fn an_answer_from_before_a_change_is_not_cached_after_it(two: &TwoStores) {
    let asked = Asked::on(two).await;
    let ((first, _), other, tenant) = (asked.enrol(1).await, asked.other.clone(), asked.tenant.clone());
    let delete = async move {
        other.delete_subject(&tenant, first, now()).await.unwrap().unwrap();
    };
    let answers = ChangedMeanwhile { answers: asked.answers.clone(), change: Mutex::new(Some(Box::pin(delete))) };
    let late = two.one.clone().with_answers(Arc::new(answers));
    assert_eq!(shown(&late, asked.user, &asked.tenant).await, ENROLLED, "it was when it was asked");
    asked.expect(NOTHING, "the deletion").await;
}

/// A cache that is out of reach.
struct Away;

#[async_trait]
impl AnswerCache for Away {
    async fn get(&self, _: &str) -> Option<CachedAnswer> {
        None
    }

    async fn put(&self, key: &str, _: &str, _: u64, _: Duration) {
        panic!("{key} is put, and it is not known what was forgotten since");
    }

    async fn forget(&self, _: &str) {}
}

pub async fn without_its_cache_the_database_answers(two: &TwoStores) {
    let Asked { user, tenant, .. } = Asked::on(two).await;
    let away = two.one.clone().with_answers(Arc::new(Away));
    assert_eq!(away.photo_status(user, &tenant).await.unwrap(), PhotoStatus { verified: false, photo: None });
    let decided = away.decide_upload(&upload(1, 1, Some("a")), user, &photographed(1), now()).await.unwrap();
    assert!(matches!(decided, UploadDecision::Decided(_)), "{decided:?}");
    assert_eq!(shown(&away, user, &tenant).await, ENROLLED);
}
