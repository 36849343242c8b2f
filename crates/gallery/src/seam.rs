//! The seam: what the matching needs from a store of vectors, and its types.

use async_trait::async_trait;
use contracts::{TenantId, VectorId};

use crate::best::Match;
use crate::embedding::Embedding;
use crate::stored_vector::StoredVector;

/// The vectors of one tenant for one model. Vectors of different models are never compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GalleryKey {
    /// The owner.
    pub tenant: TenantId,
    /// Name of the model that computed the vectors, such as `mobilefacenet_128d`.
    pub model: String,
}

/// The state of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GalleryState {
    /// Grows with each change. A version never returns, also not after everything was deleted. 0 if there was never a vector.
    pub version: u64,
    /// Vectors, with negatives.
    pub vectors: u64,
    /// Subjects with an enrolled vector.
    pub subjects: u64,
}

/// A place in the changes of a gallery: all changes up to it have been read. Only stores make and read its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Version at which the reading from the beginning began, or at which everything had been read. Removals up to this version
    /// concern vectors that were never read.
    pub began: u64,
    /// Version of the last change that was read.
    pub version: u64,
    /// Vector of the last change that was read; one version may change many vectors.
    pub vector: VectorId,
}

impl Position {
    /// Nothing has been read.
    pub const START: Self = Self { began: 0, version: 0, vector: VectorId::from_uuid(uuid::Uuid::nil()) };

    /// Everything up to this version has been read.
    pub const fn end_of(version: u64) -> Self {
        Self { began: version, version, vector: VectorId::from_uuid(uuid::Uuid::max()) }
    }
}

/// The latest change of a vector.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It was added, or replaced by this one with the same id.
    Put(StoredVector),
    /// It was removed.
    Removed(VectorId),
}

/// Changes of a gallery after a position.
#[derive(Debug, Clone, PartialEq)]
pub enum Changes {
    /// Some of them.
    Page {
        /// The changes, in order of version and vector. Each vector once, with its latest change.
        changes: Vec<Change>,
        /// Where the next page begins.
        next: Position,
        /// Whether these were the last. Then `next` is [`Position::end_of`] the current version.
        complete: bool,
    },
    /// The store no longer knows all removals since the position, or everything was deleted meanwhile. Read again from
    /// [`Position::START`].
    Expired,
}

/// Why a gallery cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GalleryError {
    /// The store is out of reach. A caller that asks who a face is says `unchecked`, never `unknown`.
    #[error("the store of face vectors is unavailable: {0}")]
    Unavailable(String),
    /// The gallery is too large for memory, and too many searches of such galleries are running in the store.
    #[error("too many large galleries are searched at the same time")]
    Busy,
    /// A stored vector is damaged, or not of the model that its table says.
    #[error("a stored face vector is damaged: {0}")]
    Damaged(String),
    /// The query has another length than the model's vectors.
    #[error("{0}")]
    WrongQuery(String),
}

/// A store of vectors, as the matching reads it. How vectors are written is the store's own matter, in one transaction with what
/// belongs to them. The contract suite is `gallery::suite` (feature `suite`).
///
/// Guarantees of each implementation:
/// - A change is visible in [`Self::state`] and [`Self::changes`] at the same time.
/// - Changes of one gallery become visible in the order of their versions. (A database locks the row with the version when
///   it assigns one.)
/// - Each call reads one snapshot.
/// - A call ends within a time limit of the store.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// Version and size of a gallery. Called for every search, so it must be cheap. A gallery that does not exist has no vectors.
    async fn state(&self, gallery: &GalleryKey) -> Result<GalleryState, GalleryError>;

    /// At most `limit` changes after a position. From [`Position::START`] it reads all vectors that exist, page by page, and then
    /// what changed meanwhile.
    async fn changes(&self, gallery: &GalleryKey, after: &Position, limit: usize) -> Result<Changes, GalleryError>;

    /// Name of the model that compares, for all tenants; `None` if none was chosen yet. It may change at any time, so a comparison reads
    /// it once, at its beginning.
    async fn active_model(&self) -> Result<Option<String>, GalleryError>;

    /// The same search as [`crate::Codes::search`], in the database: subjects that a negative excludes are left out before the best
    /// `k` are taken. For galleries that are too large for memory. The order of
    /// subjects whose similarities differ by less than 1e-5 may be another.
    async fn search(
        &self,
        gallery: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Vec<Match>, GalleryError>;
}
