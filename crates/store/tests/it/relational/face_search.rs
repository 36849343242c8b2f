//! The search in PostgreSQL with pgvector: it follows every change, and comes and goes with the extension.

use gallery::suite::{Writer, face, key, subject};
use gallery::{GalleryKey, Match, StoredVector, VectorStore};
use sqlx::{Connection, PgConnection};
use store::Relational;
use store::relational::{FaceSearch, MergeOutcome, VectorWriteOutcome};

use super::now;
use super::test_database::on_fresh;
use super::vectors::{Faces, InPostgres};

/// What PostgreSQL finds is what the program finds, by subject and vector.
async fn both_find(store: &Relational, key: &GalleryKey, query: &StoredVector) -> Vec<Match> {
    let found = InPostgres(store).search(key, &query.embedding, 9, -1.0).await.unwrap();
    let read = store.search_in_program(key, &query.embedding, 9, -1.0).await.unwrap();
    let ids = |matches: &[Match]| matches.iter().map(|found| (found.subject, found.vector)).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&read));
    found
}

async fn run(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_search_in_postgresql_follows_every_change() {
    on_fresh(async |url| {
        let (store, key) = (Relational::postgres(&url, 2).await.unwrap(), key("a"));
        store.migrate().await.unwrap();
        let writer = Faces(&store);
        writer.put(&key, (1..=6).map(|number| face(number, number)).collect()).await;
        assert_eq!(both_find(&store, &key, &face(1, 1)).await[0].subject, subject(1));

        // Another subject and another vector under the same id.
        let replaced = StoredVector { id: face(1, 1).id, ..face(20, 2) };
        assert_eq!(store.put_vectors(&key, &[replaced], now()).await.unwrap(), VectorWriteOutcome::Stored);
        assert_eq!(both_find(&store, &key, &face(20, 2)).await[0].vector, face(1, 1).id);
        let merged = store.merge_subjects(&key.tenant, subject(3), subject(4), now()).await.unwrap();
        assert_eq!(merged, MergeOutcome::Merged(1));
        assert_eq!(both_find(&store, &key, &face(3, 3)).await[0].subject, subject(4));
        writer.remove(&key, &[face(5, 5).id]).await;
        writer.remove_subject(&key, &subject(6)).await;
        assert_eq!(both_find(&store, &key, &face(5, 5)).await.len(), 2);
        writer.erase(&key).await;
        assert!(both_find(&store, &key, &face(1, 1)).await.is_empty());
        store.close().await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_migration_prepares_the_search_for_faces_that_were_enrolled_without_pgvector() {
    on_fresh(async |url| {
        let (store, key) = (Relational::postgres(&url, 2).await.unwrap(), key("a"));
        store.migrate().await.unwrap();
        run(&url, "DROP EXTENSION vector CASCADE").await;
        Faces(&store).put(&key, (1..=40).map(|number| face(number, number % 7)).collect()).await;
        assert!(matches!(store.face_search().await, Ok(FaceSearch::Program(_))));
        assert_eq!(store.search(&key, &face(9, 2).embedding, 1, 0.9).await.unwrap()[0].vector, face(9, 2).id);
        store.close().await;

        let store = Relational::postgres(&url, 2).await.unwrap();
        assert!(!store.migrate().await.unwrap().is_changed());
        assert!(matches!(store.face_search().await, Ok(FaceSearch::Pgvector(_))));

        for number in [9, 40] {
            let found = both_find(&store, &key, &face(number, 1)).await;
            assert_eq!((found.len(), found[0].vector), (7, face(number, 1).id));
        }
        store.close().await;
    })
    .await;
}

/// Also the smallest ones, which have another form.
#[tokio::test]
#[ignore = "needs postgres"]
async fn postgresql_reads_every_number_from_the_bytes_as_it_is() {
    on_fresh(async |url| {
        let store = Relational::postgres(&url, 2).await.unwrap();
        store.migrate().await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        // The smallest number, the largest one without an exponent, the smallest with one, both zeros, and numbers of a unit vector.
        for tiny in [f32::from_bits(1), f32::from_bits(0x7f_ffff), f32::MIN_POSITIVE, 1e-30, 0.0, -0.0] {
            let numbers = [0.6, tiny, -tiny, -0.8, f32::from_bits(0x3f00_0001) * 1e-9];
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            let sql = "SELECT face_vector_numbers($1)::REAL[]";
            let read: Vec<f32> = sqlx::query_scalar(sql).bind(bytes).fetch_one(&mut connection).await.unwrap();
            assert_eq!(read, numbers);
        }
        store.close().await;
    })
    .await;
}
