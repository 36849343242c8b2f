//! Frames are not documents of their own: they are the results that share a frame id, next to each other in the order of
//! `(at, id)` because a result's id begins with its frame's.

use std::ops::ControlFlow;

use contracts::{Detection, FrameId};

use crate::stored_docs::ResultDoc;
use crate::{PageRequest, StoredDetection};

/// Gathers results, as they come in the order of a list, into frames of one page.
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

    /// Takes the next result; breaks when the page is full and this one belongs to the next.
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

    /// The page's frames, each with its results by detector.
    pub(crate) fn into_frames(self) -> impl Iterator<Item = Vec<ResultDoc<'static>>> {
        self.frames.into_iter().map(|mut frame| {
            frame.sort_by(|one, other| one.id.cmp(&other.id));
            frame
        })
    }
}

/// Between these two, exclusive, are the ids of all results of a frame: `.` follows `-`.
pub(crate) fn result_range(frame: &FrameId) -> [String; 2] {
    [format!("{frame}-"), format!("{frame}.")]
}

/// Between these two, exclusive, are the ids of all detections of a result, and of no other: a detector's name has no `-`.
pub(crate) fn detection_range(result_id: &str) -> [String; 2] {
    [format!("{result_id}-"), format!("{result_id}.")]
}

/// Detections of one result in the order of their numbers, which is not that of their ids.
pub(crate) fn sorted_by_index(mut stored: Vec<StoredDetection>) -> Vec<Detection> {
    stored.sort_by_key(|stored| stored.id.index);
    stored.into_iter().map(|stored| stored.detection).collect()
}
