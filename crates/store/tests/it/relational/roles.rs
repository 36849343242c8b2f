//! The database roles of `docker/postgres` for processes that need less than the owner of the tables.

use contracts::{SubjectId, UserId};
use gallery::suite::{face, key, subject};
use gallery::{Changes, Position, VectorStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::relational::{
    FaceSearch, Gap, SourcedVector, SubjectWriteOutcome, SwitchOutcome, UploadDecision, UploadedFace,
    VectorWriteOutcome,
};
use store::{Relational, StoreError};
use uuid::Uuid;

use super::suite::faces::subject_with_id;
use super::suite::uploads::{photographed, upload};
use super::test_database::on_fresh;
use super::{add, later, now};

const FACES: &str = include_str!("../../../../../docker/postgres/faces.sql");
const WORKER: &str = include_str!("../../../../../docker/postgres/worker.sql");

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

/// Runs a test with the role that a script makes, under another name, because all databases of a server share roles. The test gets the
/// tables' owner, a connection of the role, and a user.
async fn with_role(script: &str, name: &str, test: impl AsyncFnOnce(&Relational, &Relational, UserId)) {
    on_fresh(async |url| {
        let owner = Relational::postgres(&url, 2).await.unwrap();
        owner.migrate().await.unwrap();
        let user = add(&owner, "ann").await;
        let role = format!("{name}_{}", Uuid::now_v7().simple());
        let script = script.replace(name, &role);
        // Twice, as after a migration.
        run(&url, &script).await;
        run(&url, &format!("{script} ALTER ROLE {role} PASSWORD 'secret'")).await;
        let (_, host) = url.rsplit_once('@').unwrap();
        let limited = Relational::postgres(&format!("postgres://{role}:secret@{host}"), 2).await.unwrap();
        limited.check_schema().await.unwrap();
        assert!(matches!(limited.face_search().await, Ok(FaceSearch::Pgvector(_))));

        test(&owner, &limited, user).await;

        limited.close().await;
        owner.close().await;
        run(&url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    })
    .await;
}

async fn enrol(store: &Relational, user: UserId, id: SubjectId) {
    let gallery = key("a");
    let added = store.add_subject(&gallery.tenant, Some(user), &subject_with_id(id), now()).await.unwrap();
    assert_eq!(added, SubjectWriteOutcome::Stored);
    assert_eq!(store.put_vectors(&gallery, &[face(1, 1)], now()).await.unwrap(), VectorWriteOutcome::Stored);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_role_of_faces_enrols_and_deletes_and_reads_no_secret() {
    with_role(FACES, "sightline_faces", async |owner, faces, user| {
        let gallery = key("a");
        enrol(faces, user, subject(1)).await;
        assert_eq!(faces.state(&gallery).await.unwrap().vectors, 1);
        let found = faces.search_in_postgres(&gallery, &face(1, 1).embedding, 1, 0.9).await.unwrap();
        assert_eq!(found.unwrap().len(), 1);
        let put = faces.put_face(&gallery, &face(1, 1), Some("source"), None, now()).await.unwrap();
        assert_eq!(put, VectorWriteOutcome::Stored);
        faces.begin_model_change("x", "another", true, now()).await.unwrap();
        assert!(faces.take_model_change(Uuid::now_v7(), now(), now()).await.unwrap());
        let other = [SourcedVector { vector: face(1, 1), source: None }];
        let put = faces.put_reembedded(&gallery, "another", &other, now()).await.unwrap();
        assert_eq!(put, VectorWriteOutcome::Stored);
        faces.put_gaps(&gallery, "another", &[(face(2, 1).id, Gap::FaceNotFound)]).await.unwrap();
        assert_eq!(faces.switch_model(now()).await.unwrap(), SwitchOutcome::Switched);
        let deleted = faces.delete_subject(&gallery.tenant, subject(1), now()).await.unwrap();
        assert_eq!(deleted.unwrap().enrolled, 2, "of both models");
        faces.revocations_after(0).await.expect("it verifies credentials");
        let found = faces.user_named("ann").await.unwrap().unwrap();
        assert_eq!(faces.begin_upload(&upload(1, 1, None).place, now()).await.unwrap(), 1);
        let photograph = UploadedFace { model: "another".to_owned(), ..photographed(2) };
        let decision = faces.decide_upload(&upload(1, 1, Some("a")), found.id, &photograph, now()).await.unwrap();
        assert!(matches!(decision, UploadDecision::Decided(decided) if decided.outcome.is_verified()));
        assert!(faces.upload_outcome(&upload(1, 1, None).place).await.unwrap().is_some());

        let refused = faces.signing_keys().await.expect_err("they contain private keys");
        let is_for_operator = matches!(&refused, StoreError::Misconfigured(text) if text.contains("permission denied"));
        assert!(is_for_operator && refused.to_string().contains("docker/postgres"), "{refused:?}");
        faces.password_by_login("ann").await.expect_err("it contains the hash of the password");
        faces.delete_user(user, now(), now()).await.expect_err("it deletes no user");

        let added = faces.add_subject(&gallery.tenant, Some(user), &subject_with_id(subject(3)), now()).await.unwrap();
        assert_eq!(added, SubjectWriteOutcome::Stored);
        assert!(owner.delete_user(user, now(), now()).await.unwrap());
        let due = faces.deleted_tenants_due(later(), 9).await.unwrap();
        assert_eq!(due.iter().map(|deleted| deleted.user).collect::<Vec<_>>(), [user]);
        assert_eq!(faces.erase_faces(&gallery.tenant).await.unwrap().subjects, 1);
        for next in [Some(now()), None] {
            faces.set_next_erasure(user, next).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_role_of_a_worker_reads_vectors_and_no_name_or_account() {
    with_role(WORKER, "sightline_worker", async |owner, worker, user| {
        let gallery = key("a");
        enrol(owner, user, subject(1)).await;
        assert_eq!(worker.state(&gallery).await.unwrap().vectors, 1);
        let Changes::Page { changes, .. } = worker.changes(&gallery, &Position::START, 10).await.unwrap() else {
            panic!("the gallery cannot be read from its start");
        };
        assert_eq!(changes.len(), 1);
        let found = worker.search_in_postgres(&gallery, &face(1, 1).embedding, 1, 0.9).await.unwrap();
        assert_eq!(found.unwrap().len(), 1);
        assert_eq!(worker.active_model().await.unwrap(), None);

        worker.subject(&gallery.tenant, subject(1)).await.expect_err("it contains the name");
        worker.user(user).await.expect_err("it is an account");
        worker.revocations_after(0).await.expect_err("it concerns accounts");
        worker.put_vectors(&gallery, &[face(2, 1)], now()).await.expect_err("it writes nothing");
        worker.begin_model_change("x", "another", true, now()).await.expect_err("it writes nothing");
    })
    .await;
}
