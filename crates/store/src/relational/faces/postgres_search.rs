//! The search of a gallery that is too large for memory, in PostgreSQL with the extension pgvector.
//!
//! In: the vectors as values of pgvector, which a trigger of the database computes from their bytes
//! (`migrations/pgvector.sql`), and a query. Out: the best subjects, as `gallery::OrderedSearch` finds them.
//!
//! Guarantees:
//! - The search is exact. It reads every vector of the tenant for the model, and none of others.
//! - Where it is not possible, because the extension, the table or a right is missing or a vector is damaged, there is no answer, and the
//!   program compares the bytes.

use std::fmt;

use contracts::{SubjectId, VectorId};
use gallery::{Embedding, GalleryError, GalleryKey, Match};

use super::read::unavailable;
use super::vectors::MAX_VECTORS_OF_SUBJECT;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// Who searches galleries that are too large for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaceSearch {
    /// PostgreSQL, with this version of pgvector.
    Pgvector(String),
    /// This program, which reads all vectors of the gallery, for this reason.
    Program(&'static str),
}

impl fmt::Display for FaceSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("galleries of faces that are too large for memory are searched by ")?;
        match self {
            Self::Pgvector(version) => write!(f, "PostgreSQL (pgvector {version})"),
            Self::Program(reason) => write!(f, "this program, which reads them each time ({reason})"),
        }
    }
}

/// Installs the extension, if the server has it and the role may. Otherwise a superuser can do so before the next migration.
const EXTENSION: &str = "\
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector' AND installed_version IS NULL) THEN
        CREATE EXTENSION vector;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;
END
$$;
";
const VALUES: &str = include_str!("../../../migrations/pgvector.sql");

/// What PostgreSQL has for the search. The values are complete if they exist, because one transaction makes and fills them.
const STATE: &str = "SELECT (SELECT extversion FROM pg_extension \
                     WHERE extname = 'vector' AND to_regtype('vector') IS NOT NULL) AS version, \
                     EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('face_vector_values') \
                     AND attname = 'numbers' AND NOT attisdropped) AS filled, \
                     has_table_privilege(to_regclass('face_vector_values')::OID, 'SELECT') AS readable";

/// How PostgreSQL plans a search, until its transaction ends. By default it plans a statement for all owners after five executions, and then
/// reads the vectors of all owners for the one with few; for an owner of most vectors it does so at once.
const BY_OWNER: &str = "SELECT set_config('plan_cache_mode', 'force_custom_plan', TRUE), \
                        set_config('enable_seqscan', 'off', TRUE)";

/// The operator gives the negative inner product. A vector that is not nearer than a negative of its subject does not count. A subject has
/// at most [`MAX_VECTORS_OF_SUBJECT`] vectors, so the best `$5` subjects are among the `$6` nearest vectors.
const SEARCH: &str = "\
WITH negatives AS ( \
    SELECT subject, min(numbers <#> $3) AS distance FROM face_vector_values \
    WHERE tenant = $1 AND model = $2 AND kind = 'negative' GROUP BY subject \
), near AS ( \
    SELECT v.subject, v.id, v.numbers <#> $3 AS distance, negatives.distance AS negative \
    FROM face_vector_values v LEFT JOIN negatives ON negatives.subject = v.subject \
    WHERE v.tenant = $1 AND v.model = $2 AND v.kind = 'enrolled' AND v.numbers <#> $3 <= $4 \
    AND (negatives.distance IS NULL OR v.numbers <#> $3 < negatives.distance) \
    ORDER BY distance, v.id LIMIT $6 \
), nearest AS ( \
    SELECT DISTINCT ON (subject) subject, id, distance, negative FROM near ORDER BY subject, distance, id \
) \
SELECT subject, id, distance, negative FROM nearest ORDER BY distance, subject LIMIT $5";

impl Relational {
    /// Who searches galleries that are too large for memory.
    ///
    /// # Errors
    /// If the database is out of reach.
    pub async fn face_search(&self) -> Result<FaceSearch, StoreError> {
        if !self.is_postgres() {
            return Ok(FaceSearch::Program("SQLite has no search for vectors"));
        }
        self.begin_snapshot().await?.face_search().await
    }

    /// Logs who searches galleries that are too large for memory.
    pub async fn log_face_search(&self) {
        match self.face_search().await {
            Ok(search) => tracing::info!("{}: {search}", self.label),
            Err(error) => tracing::warn!("who searches large galleries of faces is not known: {error}"),
        }
    }

    /// Makes and fills what the search needs, where PostgreSQL has pgvector. Several processes may do so at once.
    pub(in crate::relational) async fn prepare_face_search(&self) -> Result<(), StoreError> {
        if !self.is_postgres() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        transaction.lock_migrations().await?;
        transaction.script(EXTENSION).await?;
        if transaction.state().await?.needs_values() {
            tracing::info!("{}: filling the search for faces; until it is done, nobody is enrolled", self.label);
            transaction.script(VALUES).await?;
        }
        transaction.commit().await
    }

    /// The search of [`gallery::VectorStore`] in PostgreSQL. `None` if it cannot search, or a vector is damaged.
    ///
    /// # Errors
    /// As those of [`gallery::VectorStore::search`].
    pub async fn search_in_postgres(
        &self,
        key: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Option<Vec<Match>>, GalleryError> {
        if !self.is_postgres() {
            return Ok(None);
        }
        let mut snapshot = self.begin_snapshot().await.map_err(unavailable)?;
        if let FaceSearch::Program(_) = snapshot.face_search().await.map_err(unavailable)? {
            return Ok(None);
        }
        let Some(known) = snapshot.gallery(key).await? else { return Ok(Some(Vec::new())) };
        known.check(query)?;
        match snapshot.nearest(key, query, k, floor).await {
            Ok(found) => Ok(Some(found)),
            // Also if the extension was dropped meanwhile.
            Err(StoreError::Fatal(error) | StoreError::Misconfigured(error)) => {
                tracing::warn!("this program searches a large gallery, because PostgreSQL cannot: {error}");
                Ok(None)
            }
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// The row of [`STATE`].
struct State {
    version: Option<String>,
    filled: bool,
    readable: bool,
}

impl State {
    const fn needs_values(&self) -> bool {
        self.version.is_some() && !self.filled
    }
}

impl Transaction {
    async fn state(&mut self) -> Result<State, StoreError> {
        let Some(row) = self.row(STATE, values![]).await? else {
            return Ok(State { version: None, filled: false, readable: false });
        };
        let readable: Option<bool> = row.get("readable")?;
        Ok(State { version: row.get("version")?, filled: row.get("filled")?, readable: readable == Some(true) })
    }

    async fn face_search(&mut self) -> Result<FaceSearch, StoreError> {
        Ok(match self.state().await? {
            State { version: None, .. } => FaceSearch::Program("PostgreSQL has no extension `vector`"),
            State { filled: false, .. } => FaceSearch::Program("`sightline migrate` was not run with the extension"),
            State { readable: false, .. } => FaceSearch::Program(
                "this role may not read face_vector_values: run its script in docker/postgres again",
            ),
            State { version: Some(version), .. } => FaceSearch::Pgvector(version),
        })
    }

    /// From now on, statements of this transaction are planned for their arguments, and read no table from its beginning to its end.
    pub(in crate::relational) async fn plan_by_owner(&mut self) -> Result<(), StoreError> {
        self.rows(BY_OWNER, values![]).await.map(drop)
    }

    async fn nearest(
        &mut self,
        key: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Vec<Match>, StoreError> {
        self.plan_by_owner().await?;
        let k = i64::try_from(k).unwrap_or(i64::MAX);
        let vectors = k.saturating_mul(i64::from(MAX_VECTORS_OF_SUBJECT));
        let values = values![&key.tenant, &key.model, query, -f64::from(floor), k, vectors];
        self.rows(SEARCH, values).await?.iter().map(found).collect()
    }
}

fn found(row: &Row) -> Result<Match, StoreError> {
    let similarity = |distance: f64| (-distance as f32).clamp(-1.0, 1.0);
    Ok(Match {
        subject: SubjectId::from_uuid(row.get("subject")?),
        similarity: similarity(row.get("distance")?),
        vector: VectorId::from_uuid(row.get("id")?),
        negative: row.get::<Option<f64>>("negative")?.map(similarity),
    })
}
