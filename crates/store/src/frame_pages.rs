//! Pages of frames. A frame is not a document: it is the group of results with its frame id. In the order of `(at, id)` the
//! results of a frame are adjacent, because a result's id begins with the frame id.

use std::ops::ControlFlow;

use contracts::{Detection, FrameId};

use crate::stored_docs::ResultDoc;
use crate::{PageRequest, StoredDetection};

/// Groups results, which arrive in list order, into the frames of one page.
pub(crate) struct FramePageBuilder {
    to_skip: u64,
    limit: usize,
    skipping: Option<String>,
    frames: Vec<Vec<ResultDoc<'static>>>,
}

impl FramePageBuilder {
    pub(crate) fn new(page: &PageRequest) -> Self {
        let (to_skip, limit) = match page {
            PageRequest::Newest { limit, .. } => (0, *limit),
            PageRequest::Oldest { skip, limit } => (*skip, *limit),
        };
        Self { to_skip, limit: limit as usize, skipping: None, frames: Vec::new() }
    }

    /// Adds the next result. Breaks if the page is full and the result belongs to the next page.
    pub(crate) fn add(&mut self, doc: ResultDoc<'static>) -> ControlFlow<()> {
        if self.skipping.as_deref() == Some(doc.frame()) {
            return ControlFlow::Continue(());
        }
        if let Some(frame) = self.frames.last_mut()
            && frame.first().is_some_and(|first| first.frame() == doc.frame())
        {
            frame.push(doc);
            return ControlFlow::Continue(());
        }
        if self.to_skip > 0 {
            self.to_skip -= 1;
            self.skipping = Some(doc.frame().to_owned());
            return ControlFlow::Continue(());
        }
        if self.frames.len() >= self.limit {
            return ControlFlow::Break(());
        }
        self.frames.push(vec![doc]);
        ControlFlow::Continue(())
    }

    /// The frames of the page; the results of each are ordered by detector.
    pub(crate) fn into_frames(self) -> impl Iterator<Item = Vec<ResultDoc<'static>>> {
        self.frames.into_iter().map(|mut frame| {
            frame.sort_by(|one, other| one.id.cmp(&other.id));
            frame
        })
    }
}

/// Exclusive bounds of the ids of a frame's results. In ASCII, `.` follows `-`.
pub(crate) fn result_range(frame: &FrameId) -> [String; 2] {
    [format!("{frame}-"), format!("{frame}.")]
}

/// Exclusive bounds of the ids of a result's detections. No other id lies between them, because a detector's name has no `-`.
pub(crate) fn detection_range(result_id: &str) -> [String; 2] {
    [format!("{result_id}-"), format!("{result_id}.")]
}

/// The detections of one result, ordered by index. The order of their ids differs: `…-10` is before `…-2`.
pub(crate) fn sorted_by_index(mut stored: Vec<StoredDetection>) -> Vec<Detection> {
    stored.sort_by_key(|stored| stored.id.index);
    stored.into_iter().map(|stored| stored.detection).collect()
}
