//! Tests that every SQL statement of the relational store uses an index: each database explains every statement that was run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::values::Value;

/// The statements that were run.
#[derive(Clone, Default)]
pub(super) struct StatementLog(Arc<Mutex<Runs>>);

#[derive(Default)]
struct Runs {
    /// Each with the arguments of its last run.
    last: BTreeMap<&'static str, Vec<Value>>,
    /// In their order.
    all: Vec<&'static str>,
}

impl StatementLog {
    pub(super) fn record(&self, sql: &'static str, values: &[Value]) {
        let mut runs = self.runs();
        runs.last.insert(sql, values.to_vec());
        runs.all.push(sql);
    }

    /// The statements since the last call, in their order.
    pub(super) fn take_runs(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.runs().all)
    }

    /// Each statement with the arguments of its last run.
    pub(super) fn all(&self) -> BTreeMap<&'static str, Vec<Value>> {
        self.runs().last.clone()
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

mod tests {
    use contracts::{ApiTokenId, AssetKind, BookId, FrameId, SessionId, TenantId, UploadId, UploadOutcome, UserId};
    use gallery::suite::{face, key, subject};
    use gallery::{GalleryKey, Position, VectorStore};
    use jiff::{SignedDuration, Timestamp};
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::super::test_database::on_fresh;
    use super::super::*;
    use crate::media::{MediaKey, MultipartId, PartFacts};

    /// Runs every SQL statement of the relational store once, for a user with one object of each kind.
    async fn run_everything(store: &Relational) {
        let (now, later) = (Timestamp::now(), Timestamp::now() + SignedDuration::from_hours(1));
        let hash = |byte| TokenHash([byte; 32]);
        let identity = Identity { issuer: "https://issuer".to_owned(), subject: "1".to_owned() };
        let password = PasswordHash::new("$argon2id$".to_owned());
        let user = NewUser {
            id: UserId::now(),
            tenant: Uuid::new_v4(),
            username: Some("ann".to_owned()),
            email: Some("ann@example.org".to_owned()),
            full_name: None,
            password: Some(password.clone()),
            identity: Some(identity.clone()),
            role: Role::User,
            quota: UserLimit::AtMost(1),
            rate_limit: UserLimit::Configured,
        };
        assert_eq!(store.add_user(&user, now).await.unwrap(), UserWriteOutcome::Stored);
        let other = NewUser { id: UserId::now(), tenant: Uuid::new_v4(), ..user.clone() };
        assert_eq!(store.add_user(&other, now).await.unwrap(), UserWriteOutcome::UsernameTaken);
        let other = NewUser { username: None, ..other };
        assert_eq!(store.add_user(&other, now).await.unwrap(), UserWriteOutcome::EmailTaken);
        let id = user.id;
        store.user(id).await.unwrap().unwrap();
        for login in ["ann", "ann@example.org"] {
            assert_eq!(store.password_by_login(login).await.unwrap(), (Some(id), Some(password.clone())));
            store.user_named(login).await.unwrap().unwrap();
        }
        run_uploads(store, id, &TenantId::from_uuid(user.tenant)).await;
        run_media_uploads(store, id).await;
        store.user_by_identity(&identity).await.unwrap().unwrap();
        assert!(store.link_identity(id, &identity, now).await.unwrap());
        store.password(id).await.unwrap().unwrap();
        store.rehash(id, &password, &password).await.unwrap();
        for part in [None, Some("nn")] {
            assert_eq!(store.users(part, None, 9).await.unwrap().len(), 1);
        }
        store.change_profile(id, &ProfileChange::default(), now, later).await.unwrap();
        store.verify_email(id, "ann@example.org").await.unwrap();
        store.user_state(id).await.unwrap().unwrap();
        store.change_access(id, &AccessChange::default(), now, later).await.unwrap();

        let session = SessionId::now();
        let new = NewSession {
            id: session,
            user: id,
            scopes: String::new(),
            narrowed: false,
            client: None,
            address: Some("192.0.2.1".to_owned()),
            token: hash(1),
            expires_at: later,
        };
        store.open_session(&new, Some(&password), now).await.unwrap().unwrap();
        let grace = SignedDuration::from_secs(10);
        store.rotate(&hash(1), &hash(2), now, grace, later, later).await.unwrap();
        store.session_by_token(&hash(2), now).await.unwrap().unwrap();
        store.sessions(id, now).await.unwrap();
        assert_eq!(store.signed_in_from(id, now - grace).await.unwrap(), ["192.0.2.1"]);
        assert_eq!(store.session_of_token(&hash(1)).await.unwrap(), Some((session, id)));
        let reused = store.rotate(&hash(1), &hash(3), now + grace + grace, grace, later, later).await.unwrap();
        assert_eq!(reused, RotationOutcome::Reused { session, user: id });
        store.end_session(id, session, now, later).await.unwrap();
        store.end_all_sessions(id, now, later).await.unwrap();
        store.revoke_access_token(Uuid::new_v4(), later).await.unwrap();
        store.revocations_after(0).await.unwrap();
        store.last_revocation().await.unwrap();

        let token = ApiTokenId::now();
        let new = NewApiToken {
            id: token,
            user: id,
            name: "gate".to_owned(),
            token: hash(4),
            scopes: String::new(),
            expires_at: None,
            by_session: None,
        };
        store.add_api_token(&new, now).await.unwrap();
        store.api_token(&hash(4)).await.unwrap().unwrap();
        store.api_tokens(id).await.unwrap();
        store.record_token_use(&[(token, now)]).await.unwrap();
        store.delete_api_token(id, token, later).await.unwrap();

        let frames = [FrameId::now(), FrameId::now()];
        for frame in [frames[0], frames[0], frames[1]] {
            store.charge(&Charge { user: id, frame, period: "total", limit: 1 }, now).await.unwrap();
        }
        for _ in 0..2 {
            store.refund(id, frames[0], now).await.unwrap();
        }

        store.add_reset(id, "ann@example.org", &hash(5), later).await.unwrap();
        store.reset_password(&hash(5), &password, now, later).await.unwrap().unwrap();
        store.change_password(id, Some(&password), &password, None, now, later).await.unwrap();
        let key = SigningKeyRecord {
            kid: "a".to_owned(),
            public: Vec::new(),
            private: Vec::new(),
            signs_from: now,
            verifies_until: None,
        };
        store
            .rotate_signing_keys(|_| Some(KeyRotation { add: key, old_keys_verify_until: later }), later)
            .await
            .unwrap();
        store.signing_keys().await.unwrap();
        store.verifying_keys().await.unwrap();
        let entry = AuditEntry {
            id: Uuid::now_v7(),
            at: now,
            action: "sign_in".to_owned(),
            user: Some(id),
            actor: None,
            address: None,
            detail: None,
        };
        store.add_audit_entry(&entry).await.unwrap();
        for user in [None, Some(id)] {
            assert_eq!(store.audit_log(user, None, 9).await.unwrap().len(), 1);
        }
        store.sweep(now).await.unwrap();
        store.erase_faces(&TenantId::from_uuid(user.tenant)).await.unwrap();
        store.delete_user(id, now, later).await.unwrap();
        assert!(store.tenant_of_deleted_user(id).await.unwrap().is_some());
        assert_eq!(store.deleted_tenants_due(later, 9).await.unwrap().len(), 1);
        for next in [Some(later), None] {
            store.set_next_erasure(id, next).await.unwrap();
        }
    }

    /// Runs every statement of uploads once.
    async fn run_uploads(store: &Relational, user: UserId, tenant: &TenantId) {
        let (now, face) = (Timestamp::now(), face(1, 1));
        let uploaded = UploadedFace {
            model: "mobilefacenet_128d".to_owned(),
            embedding: face.embedding,
            target: None,
            target_embedding: None,
            threshold: 0.5,
            written_at: now,
            subject: face.subject,
            vector: face.id,
        };
        let upload = |offset: u8| NewUpload {
            place: UploadPlace { topic_id: "a".to_owned(), partition: 0, offset: i64::from(offset) },
            message: [offset; 32],
            file: Some("a".to_owned()),
        };
        assert_eq!(store.begin_upload(&upload(1).place, now).await.unwrap(), 1);
        for offset in 1..=2 {
            store.decide_upload(&upload(offset), user, &uploaded, now).await.unwrap();
        }
        let missing = NewUpload { file: None, ..upload(3) };
        store.refuse_upload(&missing, Some(user), UploadOutcome::FileMissing, now).await.unwrap();
        store.upload_outcome(&missing.place).await.unwrap().unwrap();
        let shown = store.photo_status(user, tenant).await.unwrap();
        assert_eq!((shown.verified, shown.photo.unwrap().outcome), (true, UploadOutcome::FileMissing));
    }

    /// Runs every statement of uploads of media files once.
    async fn run_media_uploads(store: &Relational, owner: UserId) {
        let (now, later) = (Timestamp::now(), Timestamp::now() + SignedDuration::from_hours(1));
        let (id, book, kind) = (UploadId::now(), BookId::now(), AssetKind::Master);
        let new = NewMediaUpload {
            id,
            book,
            owner: Some(owner),
            kind,
            key: MediaKey::new(book, kind),
            length: None,
            content_type: "audio/mpeg".to_owned(),
            file_name: None,
            expires_at: later,
        };
        assert!(store.begin_media_upload(&new, now).await.unwrap());
        let upload = store.take_media_upload(id, now).await.unwrap().unwrap();
        assert_eq!(store.media_upload(id, now).await.unwrap(), Some(upload.clone()));
        assert_eq!(store.open_media_upload(book, kind, now).await.unwrap(), Some(upload.clone()));
        assert!(store.set_media_multipart(id, upload.writer, &MultipartId("m".to_owned())).await.unwrap());
        let part = PartFacts { number: upload.next_number, bytes: 1, tag: String::new() };
        let parts = vec![part];
        let step = UploadProgress { parts, offset: 1, tail: 0, hash_state: vec![1], length: None, expires_at: later };
        assert!(store.append_media_upload(id, upload.writer, &step).await.unwrap());
        assert_eq!(store.media_upload_parts(id).await.unwrap(), step.parts);
        assert!(store.complete_media_upload(id, upload.writer, &[1; 32], 1, later).await.unwrap());
        assert_eq!(store.media_upload_keys().await.unwrap(), [new.key]);
        assert!(store.expire_media_upload(id, now).await.unwrap().is_some());
        assert_eq!(store.expired_media_uploads(now, 9).await.unwrap(), [id]);
        assert!(store.drop_media_upload(id, now).await.unwrap());
        assert!(!store.delete_media_upload(id).await.unwrap());
        store.media_deleted(&[new.key]).await.unwrap();
    }

    /// Runs every statement of enrolled faces once.
    async fn run_faces(store: &Relational) {
        let now = Timestamp::now();
        let key = key("a");
        for number in 1..=3 {
            let new = NewSubject {
                id: subject(number),
                external_id: Some(number.to_string()),
                name: None,
                metadata: Metadata::new(),
                consent: None,
            };
            assert_eq!(store.add_subject(&key.tenant, None, &new, now).await.unwrap(), SubjectWriteOutcome::Stored);
            assert_eq!(store.add_subject(&key.tenant, None, &new, now).await.unwrap(), SubjectWriteOutcome::IdTaken);
        }
        store.subject_by_external_id(&key.tenant, "1").await.unwrap().unwrap();
        assert_eq!(store.subjects(&key.tenant, None, 9).await.unwrap().len(), 3);
        store.change_subject(&key.tenant, subject(1), &SubjectChange::default(), now).await.unwrap();
        for number in 1..=4 {
            store.put_vectors(&key, &[face(number, number % 3 + 1)], now).await.unwrap();
        }
        assert_eq!(store.state(&key).await.unwrap().vectors, 4);
        store.changes(&key, &Position::START, 2).await.unwrap();
        assert_eq!(store.search(&key, &face(1, 1).embedding, 2, -1.0).await.unwrap().len(), 2);
        assert_eq!(store.search_in_program(&key, &face(1, 1).embedding, 2, -1.0).await.unwrap().len(), 2);
        assert_eq!(store.vectors_of_subject(&key, subject(2)).await.unwrap().len(), 2);
        assert_eq!(store.galleries_of_tenant(&key.tenant).await.unwrap(), std::slice::from_ref(&key));
        assert_eq!(store.enrolled_faces(&key, subject(2)).await.unwrap().len(), 2);
        assert_eq!(store.count_enrolled(&key, &[subject(2)]).await.unwrap()[&subject(2)], 2);
        assert!(store.is_enrolled(&key.tenant, subject(2), face(1, 2).id).await.unwrap());
        assert!(store.remove_twins(&key.tenant, subject(2), now).await.unwrap().is_empty());
        assert!(store.remove_enrolled(&key.tenant, subject(2), face(1, 2).id, now).await.unwrap());
        store.put_vectors(&key, &[face(1, 2)], now).await.unwrap();
        assert_eq!(store.remove_vectors(&key, &[face(1, 2).id], now).await.unwrap(), 1);
        run_model_change(store, &key, now).await;
        let consent = contracts::api::Consent { given_at: now, until: Some(now + REMOVALS_KEPT), reference: None };
        let change = SubjectChange { consent: Some(Some(consent)), ..SubjectChange::default() };
        store.change_subject(&key.tenant, subject(1), &change, now).await.unwrap();
        let ended = now + REMOVALS_KEPT;
        assert_eq!(store.ended_consents(ended, 9).await.unwrap(), [(key.tenant.clone(), subject(1))]);
        assert_eq!(store.end_consent(&key.tenant, subject(1), ended).await.unwrap(), 1);
        store.finish_consent(&key.tenant, subject(1), ended).await.unwrap();
        store.merge_subjects(&key.tenant, subject(2), subject(1), now).await.unwrap();
        assert!(store.is_merged(&key.tenant, subject(2)).await.unwrap());
        assert_eq!(store.people_by_id(&key.tenant, &[subject(2)]).await.unwrap()[&subject(2)].id, subject(1));
        store.delete_subject(&key.tenant, subject(1), now).await.unwrap().unwrap();
        assert_eq!(store.merged_subjects(&key.tenant, subject(1)).await.unwrap(), [subject(2)]);
        let due = store.former_subjects_due(now + REMOVALS_KEPT, 9).await.unwrap();
        assert_eq!(due.len(), 2);
        store.set_next_forgetting(&due[0], Some(now + REMOVALS_KEPT)).await.unwrap();
        store.set_next_forgetting(&due[1], None).await.unwrap();
        assert!(store.sweep(now + REMOVALS_KEPT + REMOVALS_KEPT).await.unwrap() >= 3);
        assert_eq!(store.erase_faces(&key.tenant).await.unwrap(), ErasedFaces { subjects: 1, vectors: 1 });
    }

    /// Runs every statement of a change of the model once, and leaves no vector of the other one.
    async fn run_model_change(store: &Relational, key: &GalleryKey, now: Timestamp) {
        let vector = face(2, 3);
        let put = store.put_face(key, &vector, Some("source"), None, now).await.unwrap();
        assert_eq!(put, VectorWriteOutcome::Stored);
        store.begin_model_change(&key.model, "another", false, now).await.unwrap();
        assert!(store.take_model_change(Uuid::nil(), now, now).await.unwrap());
        assert_eq!(store.next_tenant_of(&key.model, None).await.unwrap(), Some(key.tenant.clone()));
        assert_eq!(store.faces_to_embed(key, "another", None, 9).await.unwrap().len(), 3);
        let sourced = [SourcedVector { vector: vector.clone(), source: Some("source".to_owned()) }];
        let put = store.put_reembedded(key, "another", &sourced, now).await.unwrap();
        assert_eq!(put, VectorWriteOutcome::Stored);
        assert!(store.set_source(key, vector.id, "source", now).await.unwrap());
        let gaps = [3, 4].map(|number| (face(number, number % 3 + 1).id, Gap::ImageNotKept));
        store.put_gaps(key, "another", &gaps).await.unwrap();
        assert_eq!(store.coverage(key, "another").await.unwrap().without.len(), 2);
        store.begin_model_change(&key.model, "another", true, now).await.unwrap();
        store.put_gaps(key, "another", &gaps).await.unwrap();
        let checked = store.check_change().await.unwrap().unwrap();
        // A face that changes meanwhile is looked up by its version.
        let put = store.put_face(key, &vector, Some("source"), Some("another"), now).await.unwrap();
        assert_eq!(put, VectorWriteOutcome::Stored);
        assert_eq!(store.switch_checked(&checked, now).await.unwrap(), SwitchOutcome::Switched);
        assert_eq!(store.active_model().await.unwrap().as_deref(), Some("another"));
        let other = GalleryKey { model: "another".to_owned(), ..key.clone() };
        assert_eq!(store.remove_vectors(&other, &[vector.id], now).await.unwrap(), 1);
    }

    /// Statements on tables of a few rows, which are scanned, and statements that run once at the start.
    const MAY_SCAN: [&str; 5] =
        ["FROM signing_keys", "UPDATE signing_keys", "sightline_schema", "SET LOCAL", "provider_list"];

    async fn every_statement_has_an_index(store: &Relational, reads_all: impl Fn(&str) -> bool) {
        store.migrate().await.unwrap();
        store.check_schema().await.unwrap();
        run_everything(store).await;
        run_faces(store).await;
        shop::tests::run_shop(store).await;
        pipeline::tests::run_pipelines(store).await;
        let seen = store.statements.all();
        assert!(seen.len() > 50, "only {} statements were seen", seen.len());
        for (sql, values) in seen {
            if MAY_SCAN.iter().any(|whole| sql.contains(whole)) || sql.contains("pg_") || sql.contains("sqlite_schema")
            {
                continue;
            }
            let plan = store.begin().await.unwrap().explain(sql, values).await.unwrap();
            assert!(!plan.iter().any(|step| reads_all(step)), "{sql}\n{}", plan.join("\n"));
        }
    }

    #[tokio::test]
    async fn every_statement_has_an_index_on_sqlite() {
        let folder = TempDir::new().unwrap();
        let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        // A search of words follows its index, though its step is called a scan.
        let is_search = |step: &str| step.contains("VIRTUAL TABLE INDEX") && step.contains(":M");
        let reads_all = |step: &str| step.starts_with("SCAN") && !step.contains("USING") && !is_search(step);
        // Rows that are in no table, also by the name that a statement gives one.
        let constants = ["CONSTANT ROW", "VALUES CLAUSE", "one_row"];
        let is_constant = |step: &str| constants.iter().any(|name| step.contains(name));
        every_statement_has_an_index(&store, |step| reads_all(step) && !is_constant(step)).await;
        // However many photographs a user has sent, one row is read.
        let plan = plan_of(&store, "ORDER BY decided_at DESC").await;
        assert!(plan.contains("face_upload_outcomes_by_user_and_time") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    #[tokio::test]
    #[ignore = "needs postgres"]
    async fn every_statement_has_an_index_on_postgresql() {
        on_fresh(async |url| {
            let store = Relational::postgres(&url, 2).await.unwrap();
            every_statement_has_an_index(&store, |step| step.contains("Seq Scan")).await;
            store.close().await;
        })
        .await;
    }

    #[tokio::test]
    #[ignore = "needs postgres"]
    async fn the_search_among_many_users_uses_trigrams() {
        on_fresh(async |url| {
            let store = Relational::postgres(&url, 2).await.unwrap();
            store.migrate().await.unwrap();
            let mut transaction = store.begin().await.unwrap();
            let many = "INSERT INTO users (id, tenant, username, username_folded, role, disabled, created_at, search)
                        SELECT gen_random_uuid(), gen_random_uuid(), 'user' || n, 'user' || n, 'user', FALSE,
                        now() - n * interval '1 second', 'user' || n FROM generate_series(1, 20000) n;
                        SELECT gin_clean_pending_list('users_by_search'); ANALYZE users;";
            transaction.script(many).await.unwrap();
            transaction.commit().await.unwrap();

            assert_eq!(store.users(Some("SER1234"), None, 50).await.unwrap().len(), 11);

            let (sql, values) = store.statements.all().into_iter().find(|(sql, _)| sql.contains("LIKE")).unwrap();
            let plan = store.begin().await.unwrap().explain(sql, values).await.unwrap().join("\n");
            assert!(plan.contains("users_by_search"), "{plan}");
            store.close().await;
        })
        .await;
    }

    /// The plan of the statement with this text.
    async fn plan_of(store: &Relational, part: &str) -> String {
        let (sql, values) = store.statements.all().into_iter().find(|(sql, _)| sql.contains(part)).unwrap();
        store.begin().await.unwrap().explain(sql, values).await.unwrap().join("\n")
    }

    /// A part of each statement that reads many vectors, and the index that it must follow.
    const READS: [(&str, &str); 3] = [
        ("(version, id) > ($3, $4) ORDER BY version, id LIMIT $5", "face_vectors_by_version"),
        ("(subject, id) >= ($3, $4)", "face_vectors_by_subject"),
        ("AND version > $5 ORDER BY version, id", "face_vector_removals_by_version"),
    ];

    /// Changes and pages of a search are read in the order of an index: nothing is sorted, and no vector is read that is not returned.
    async fn reads_follow_an_index(store: &Relational, is_sorted: &str) {
        for (part, index) in READS {
            let plan = plan_of(store, part).await;
            assert!(plan.contains(index) && !plan.contains(is_sorted), "{plan}");
        }
    }

    /// After some executions PostgreSQL plans a prepared statement once for all arguments.
    async fn generic_plans_follow_an_index(store: &Relational, url: &str) {
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
        for ((part, index), arguments) in READS.into_iter().zip([
            "'t3', 'mobilefacenet_128d', 5, '00000000-0000-0000-0000-000000000000', 1001",
            "'t3', 'mobilefacenet_128d', gen_random_uuid(), gen_random_uuid(), 1000",
            "'t3', 'mobilefacenet_128d', 5, '00000000-0000-0000-0000-000000000000', 5, 1001",
        ]) {
            let (sql, _) = store.statements.all().into_iter().find(|(sql, _)| sql.contains(part)).unwrap();
            let prepare = format!("SET plan_cache_mode = force_generic_plan; DEALLOCATE ALL; PREPARE page AS {sql}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN EXECUTE page ({arguments})"));
            let plan = sqlx::raw_sql(explain).fetch_all(&mut connection).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|step| sqlx::Row::get(step, "QUERY PLAN")).collect();
            let plan = plan.join("\n");
            assert!(plan.contains("$1") && plan.contains(index) && !plan.contains("Sort"), "{plan}");
        }
    }

    #[tokio::test]
    async fn changes_and_searches_follow_an_index_on_sqlite() {
        let folder = TempDir::new().unwrap();
        let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        store.migrate().await.unwrap();
        run_faces(&store).await;
        reads_follow_an_index(&store, "TEMP B-TREE").await;
    }

    #[tokio::test]
    #[ignore = "needs postgres"]
    async fn changes_and_searches_follow_an_index_on_postgresql() {
        on_fresh(async |url| {
            let store = Relational::postgres(&url, 2).await.unwrap();
            store.migrate().await.unwrap();
            run_faces(&store).await;
            let mut transaction = store.begin().await.unwrap();
            let many = "INSERT INTO face_vectors (tenant, model, id, subject, kind, version, vector)
                        SELECT 't' || n % 5, 'mobilefacenet_128d', gen_random_uuid(), gen_random_uuid(), 'enrolled', n,
                        decode(repeat('00', 512), 'hex') FROM generate_series(1, 20000) n;
                        INSERT INTO face_vector_removals (tenant, model, id, version, removed_at)
                        SELECT 't' || n % 5, 'mobilefacenet_128d', gen_random_uuid(), n, now()
                        FROM generate_series(1, 20000) n; ANALYZE face_vectors; ANALYZE face_vector_removals;";
            transaction.script(many).await.unwrap();
            transaction.commit().await.unwrap();
            reads_follow_an_index(&store, "Sort").await;
            generic_plans_follow_an_index(&store, &url).await;
            store.close().await;
        })
        .await;
    }

    /// 10,000 vectors: 1 % of one owner, the others of another. Every seventh is a negative.
    const TWO_OWNERS: &str = "
        INSERT INTO face_galleries (tenant, model, dimensions, version, vectors, subjects, removals_known_after)
        SELECT tenant, 'mobilefacenet_128d', 128, 1, 1, 1, 1 FROM unnest(ARRAY['few', 'most']) tenant;
        INSERT INTO face_vectors (tenant, model, id, subject, kind, version, vector)
        SELECT CASE WHEN n % 100 = 0 THEN 'few' ELSE 'most' END, 'mobilefacenet_128d', gen_random_uuid(),
        gen_random_uuid(), CASE WHEN n % 7 = 0 THEN 'negative' ELSE 'enrolled' END, 1,
        (SELECT string_agg(CASE WHEN hashint4(n * 128 + i) % 2 = 0 THEN '\\xf304b53d'::BYTEA ELSE '\\xf304b5bd' END, '')
        FROM generate_series(1, 128) i) FROM generate_series(1, 10000) n;
        ANALYZE face_vectors; ANALYZE face_vector_values;";

    #[tokio::test]
    #[ignore = "needs postgres"]
    async fn a_search_reads_one_owner_however_often_it_has_run_on_postgresql() {
        on_fresh(async |url| {
            // One connection, so that all searches run one prepared statement.
            let store = Relational::postgres(&url, 1).await.unwrap();
            store.migrate().await.unwrap();
            let mut transaction = store.begin().await.unwrap();
            transaction.script(TWO_OWNERS).await.unwrap();
            transaction.commit().await.unwrap();
            // PostgreSQL considers a plan for any arguments after five executions.
            for owner in ["most", "few"] {
                for number in 0..10 {
                    let query = face(number, 1).embedding;
                    let found = store.search_in_postgres(&key(owner), &query, 3, -1.0).await.unwrap();
                    assert_eq!(found.unwrap().len(), 3, "{owner}");
                }
            }
            let mut snapshot = store.begin_snapshot().await.unwrap();
            snapshot.plan_by_owner().await.unwrap();
            for owner in ["most", "few"] {
                let arguments = format!(
                    "'{owner}', 'mobilefacenet_128d', array_fill(0.0883883::REAL, ARRAY[128])::vector, 1, 3, 300"
                );
                let prepared = snapshot.prepared("WITH negatives", &arguments).await;
                let plan = prepared.plan;
                assert!(prepared.generic_plans == 0 && prepared.custom_plans >= 20, "{plan}");
                assert!(plan.contains("face_vector_values_pkey") && !plan.contains("Seq Scan"), "{plan}");
                assert!(plan.matches(&format!("Index Cond: ((tenant = '{owner}'")).count() >= 2, "{plan}");
            }
            drop(snapshot);
            store.close().await;
        })
        .await;
    }
}
