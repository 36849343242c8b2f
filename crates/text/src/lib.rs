//! Sentences, their embeddings, and what follows from them: the description of a book, its categories, and search by meaning.
//!
//! ```text
//!  text ──▶ sentences ──▶ WordPiece ──▶ MiniLM on ONNX Runtime ──▶ Embedding of each sentence
//!                                                                    │
//!                                             describe ◀── categories ┴─▶ kept, for search
//! ```
//!
//! In: English text, and the files of the model `minilm-l6-v2`. Out: [embeddings](Embedding), by which texts of similar meaning are close;
//! a [description](describe()) of whole sentences of the text; the [categories](categories()) that it is closest to.
//!
//! Guarantees: the same text has the same embedding, whatever is embedded beside it. No text makes the reader of tokens fail or use
//! memory beyond its length; of a long one the first 256 tokens count. No model is needed for sentences. A description consists of
//! sentences of the first quarter, so it does not tell the end. This crate knows no database and no HTTP.

mod categories;
mod describe;
mod embedder;
mod embedding;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handle;
mod normal;
mod passages;
mod sentences;
mod wordpiece;

pub use categories::{Label, Score, categories, scores};
pub use describe::{DESCRIPTION_CHARACTERS, describe};
pub use embedder::Embedder;
pub use embedding::{DIMENSIONS, Embedding};
pub use error::TextError;
pub use handle::{Embeddings, MAX_TEXTS};
pub use passages::{PASSAGES, Passage, closest, parts_of, passages_of};
pub use sentences::{MAX_SENTENCE, sentences};
