//! Matching of face embeddings: who of a tenant's subjects is this?
//!
//! ```text
//! embedding ──▶ Galleries::search ──▶ Answer { matches, subjects } ──▶ decide ──▶ Identity
//!                 │ version?  changes?          threshold ◀── Calibration (a rate of false matches)
//!                 ▼
//!              VectorStore (the seam; a database)
//! ```
//!
//! In: embeddings of faces, and a store that keeps the enrolled ones. Out: subjects with similarities, and a decision. No
//! database, no HTTP, no model.
//!
//! Guarantees:
//! - A search is exact: int8 codes are scanned, and every vector that can be among the best is compared in full precision
//!   ([`Codes`]).
//! - It sees every change that was committed before it began ([`Galleries`]).
//! - The vectors in memory stay below a bound; galleries beyond it are searched by the store.
//! - A store that is out of reach gives [`Identity::Unchecked`], never [`Identity::Unknown`] ([`decide`]).
//!
//! Why exact: `docs/decisions/face-search.md`.
#![deny(unsafe_code)]

mod best;
mod calibration;
mod codes;
mod decision;
mod embedding;
mod galleries;
#[cfg(any(test, feature = "suite"))]
pub mod memory;
mod ordered_search;
mod scan;
mod seam;
mod stored_vector;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use best::Match;
pub use calibration::{Calibration, CalibrationError, MatchRate, Point, expected_false_matches};
pub use codes::{Codes, Found};
pub use decision::{Identity, Look, decide};
pub use embedding::{Embedding, EmbeddingError, MAX_DIMENSIONS};
pub use galleries::{Answer, Galleries};
pub use ordered_search::OrderedSearch;
pub use seam::{Change, Changes, GalleryError, GalleryKey, GalleryState, Position, VectorStore};
pub use stored_vector::{StoredVector, VectorKind};
