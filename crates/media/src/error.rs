//! Why something about a pipeline cannot be done.

use contracts::MediaStep;
use store::StoreError;

/// Why something about a pipeline cannot be done. The text is for admins.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such book.
    #[error("there is no such book, or it is deleted")]
    UnknownBook,
    /// A step cannot be done again before it was done.
    #[error("the book has not reached the step {from} yet: it is at {at}; resume it instead")]
    NotReached {
        /// The step.
        from: MediaStep,
        /// The first step that is not done.
        at: MediaStep,
    },
    /// Another process changes the pipeline all the time.
    #[error("the book is being changed by somebody else; try again")]
    Changed,
    /// Something that is stored cannot be read.
    #[error("{0}")]
    Damaged(String),
}

impl MediaError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "unavailable",
            Self::UnknownBook => "not_found",
            Self::NotReached { .. } => "step_not_reached",
            Self::Changed => "busy",
            Self::Damaged(_) => "internal",
        }
    }
}
