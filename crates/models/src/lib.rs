//! Model files: which there are, where they come from, what may be done with them, and whether they are the right ones.
//!
//! ```text
//!  models.yaml ──▶ Document ──▶ Model: name, licence, engine ──▶ Weights: file, hash, sources
//!                     ▲                                             │
//!     operator's file ┘            sources ──▶ join ──▶ convert or rewrite ──▶ the models folder ──▶ ModelFiles
//! ```
//!
//! In: the built-in document or an operator's, and the settings of the models folder ([`FolderArgs`]). Out: the files of a model, after
//! their hashes and the licence are checked ([`ModelFiles`]). What runs a model is in other crates: `vision` for images, `text` and
//! audio-worker for speech. They read the engines of the document as they need them ([`Engine`]).
//!
//! Guarantees: a file is in the folder complete and with the right hash, or not at all. A file that is changed has the right hash before
//! and after. Nothing is downloaded except by a [`pull`]. A download and a changed file have at most 256 MiB.

mod args;
mod convert;
mod document;
mod error;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hash;
mod model;
pub mod pull;
mod rewrite;
mod source;
mod weights;

pub use args::{FolderArgs, ModelFiles};
pub use convert::Convert;
pub use document::{BUILT_IN, Document, Models, file_setting};
pub use error::ModelError;
pub use hash::sha256;
pub use model::{AnyEngine, Engine, Model, is_independent_kind};
pub use pull::{PullError, Pulled};
pub use rewrite::Rewrite;
pub use source::{Package, Source};
pub use weights::Weights;

#[cfg(test)]
mod tests;
