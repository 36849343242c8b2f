//! The contract suite of [`gallery::VectorStore`] on both databases, and on PostgreSQL without pgvector: one instance writes, the other reads.
//! And rows that are damaged.

use async_trait::async_trait;
use contracts::{SubjectId, VectorId};
use gallery::suite::{Writer, face, key};
use gallery::{Changes, Embedding, GalleryError, GalleryKey, GalleryState, Match, Position, StoredVector, VectorStore};
use jiff::SignedDuration;
use store::Relational;
use store::relational::{FaceSearch, MAX_VECTORS_AT_ONCE, REMOVALS_KEPT, VectorWriteOutcome};
use tempfile::TempDir;

use super::suite::faces::subject_with_id;
use super::{TwoStores, now};

/// Writes as the service of faces does.
pub struct Faces<'a>(pub &'a Relational);

#[async_trait]
impl Writer for Faces<'_> {
    async fn put(&self, gallery: &GalleryKey, vectors: Vec<StoredVector>) {
        for vector in &vectors {
            // It may exist already.
            self.0.add_subject(&gallery.tenant, None, &subject_with_id(vector.subject), now()).await.unwrap();
        }
        for some in vectors.chunks(MAX_VECTORS_AT_ONCE) {
            let written = self.0.put_vectors(gallery, some, now()).await.unwrap();
            assert_eq!(written, VectorWriteOutcome::Stored);
        }
    }

    async fn remove(&self, gallery: &GalleryKey, vectors: &[VectorId]) {
        let removed = self.0.remove_vectors(gallery, vectors, now()).await.unwrap();
        assert_eq!(removed, vectors.len() as u64);
    }

    async fn remove_subject(&self, gallery: &GalleryKey, subject: &SubjectId) {
        self.0.delete_subject(&gallery.tenant, *subject, now()).await.unwrap().unwrap();
    }

    async fn forget_removals(&self, _: &GalleryKey) {
        self.0.sweep(now() + REMOVALS_KEPT + SignedDuration::from_secs(1)).await.unwrap();
    }

    async fn erase(&self, gallery: &GalleryKey) {
        self.0.erase_faces(&gallery.tenant).await.unwrap();
    }
}

/// A store that searches in PostgreSQL alone. [`Relational`] would search in the program if PostgreSQL failed.
pub struct InPostgres<'a>(pub &'a Relational);

#[async_trait]
impl VectorStore for InPostgres<'_> {
    async fn state(&self, gallery: &GalleryKey) -> Result<GalleryState, GalleryError> {
        self.0.state(gallery).await
    }

    async fn changes(&self, gallery: &GalleryKey, after: &Position, limit: usize) -> Result<Changes, GalleryError> {
        self.0.changes(gallery, after, limit).await
    }

    async fn active_model(&self) -> Result<Option<String>, GalleryError> {
        VectorStore::active_model(self.0).await
    }

    async fn search(
        &self,
        gallery: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Vec<Match>, GalleryError> {
        Ok(self.0.search_in_postgres(gallery, query, k, floor).await?.expect("PostgreSQL can search"))
    }
}

macro_rules! on_sqlite {
    ($($guarantee:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $guarantee() {
                    let folder = super::TempDir::new().unwrap();
                    let two = crate::relational::sqlite::two_on(&folder).await;
                    gallery::suite::$guarantee(&two.other, &super::Faces(&two.one)).await;
                }
            )*
        }
    };
}
gallery::for_each_vector_store_test!(on_sqlite);

macro_rules! on_postgresql {
    ($($guarantee:ident,)*) => {
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs postgres"]
                async fn $guarantee() {
                    crate::relational::postgres::on_two(async |two| {
                        let store = super::InPostgres(&two.other);
                        gallery::suite::$guarantee(&store, &super::Faces(&two.one)).await;
                    })
                    .await;
                }
            )*
        }
    };
}
gallery::for_each_vector_store_test!(on_postgresql);

macro_rules! on_postgresql_without_pgvector {
    ($($guarantee:ident,)*) => {
        mod postgres_without_pgvector {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs postgres"]
                async fn $guarantee() {
                    crate::relational::postgres::on_two_without_pgvector(async |two| {
                        assert!(matches!(two.other.face_search().await, Ok(super::FaceSearch::Program(_))));
                        gallery::suite::$guarantee(&two.other, &super::Faces(&two.one)).await;
                    })
                    .await;
                }
            )*
        }
    };
}
gallery::for_each_vector_store_test!(on_postgresql_without_pgvector);

/// Bytes that are no vector of the model.
fn damages() -> Vec<Vec<u8>> {
    let good = face(1, 1).embedding.to_bytes();
    let mut with_nan = good.clone();
    with_nan[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut of_half_length = vec![0; good.len() / 2];
    of_half_length[..4].copy_from_slice(&1_f32.to_le_bytes());
    vec![vec![0; good.len()], with_nan, of_half_length, good[..good.len() - 1].to_vec(), Vec::new()]
}

/// No way of reading returns a damaged vector, or leaves it out.
async fn every_read_fails(store: &Relational, bytes: &[u8]) {
    let (key, query) = (key("a"), face(2, 2).embedding);
    let read = [
        store.changes(&key, &Position::START, 9).await.map(drop),
        store.search(&key, &query, 1, -1.0).await.map(drop),
        store.vectors_of_subject(&key, face(1, 1).subject).await.map(drop),
    ];
    for read in read {
        assert!(matches!(read, Err(GalleryError::Damaged(_))), "{read:?} for {bytes:?}");
    }
}

const DAMAGE: &str = "UPDATE face_vectors SET vector = $1 WHERE id = $2";

#[tokio::test]
async fn a_damaged_vector_is_an_error_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let two = super::sqlite::two_on(&folder).await;
    Faces(&two.one).put(&key("a"), vec![face(1, 1), face(2, 2)]).await;
    let file = rusqlite::Connection::open(folder.path().join("accounts.sqlite")).unwrap();
    for bytes in damages() {
        file.execute(DAMAGE, rusqlite::params![bytes, face(1, 1).id.to_string()]).unwrap();
        every_read_fails(&two.one, &bytes).await;
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_damaged_vector_is_an_error_on_postgresql() {
    super::test_database::on_fresh(async |url| {
        let store = Relational::postgres(&url, 4).await.unwrap();
        store.migrate().await.unwrap();
        Faces(&store).put(&key("a"), vec![face(1, 1), face(2, 2)]).await;
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        for bytes in damages() {
            let damage = sqlx::query(DAMAGE).bind(&bytes).bind(face(1, 1).id.uuid());
            damage.execute(&mut connection).await.unwrap();
            every_read_fails(&store, &bytes).await;
        }
        store.close().await;
    })
    .await;
}

/// A file that was never migrated, or a database that is gone, is out of reach; nobody is unknown then.
#[tokio::test]
async fn a_database_without_tables_is_unavailable() {
    let folder = TempDir::new().unwrap();
    let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
    let (state, changes) = (store.state(&key("a")).await, store.changes(&key("a"), &Position::START, 9).await);
    assert!(matches!(state, Err(GalleryError::Unavailable(_))), "{state:?}");
    assert!(matches!(changes, Err(GalleryError::Unavailable(_))), "{changes:?}");
    let TwoStores { one, .. } = super::sqlite::two_on(&folder).await;
    one.close().await;
    let search = one.search(&key("a"), &face(1, 1).embedding, 1, -1.0).await;
    assert!(matches!(search, Err(GalleryError::Unavailable(_))), "{search:?}");
}
