//! What the service needs for the work on recordings, where there is any.

use std::sync::Arc;

use bus::Bus;
use media::Pipelines;
use text::Embeddings;

/// The audio pipeline, whose workers are other processes or parts of this one.
#[derive(Clone)]
pub struct Audio {
    /// How far books are.
    pub pipelines: Pipelines,
    /// The log: tasks for the workers, and their progress.
    pub bus: Arc<dyn Bus>,
    /// Makes the embedding of what is searched for.
    pub embeddings: Embeddings,
}
