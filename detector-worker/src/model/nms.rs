//! Non-maximum suppression: of boxes that overlap, the surest stays.

/// So many of the surest candidates are compared at most: a picture made to light up every cell must not cost a quadratic
/// number of comparisons.
const MAX_CANDIDATES: usize = 5_000;

/// A box the network proposes, before duplicates are removed. Pixels of whatever picture the owner says.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// How sure the network is, 0 to 1.
    pub score: f32,
    /// Left edge.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Right edge.
    pub right: f32,
    /// Bottom edge.
    pub bottom: f32,
    /// Points on it, `(x, y)`.
    pub landmarks: Vec<(f32, f32)>,
}

impl Candidate {
    /// Whether every number is finite; a network that overflowed proposes nothing.
    pub fn is_finite(&self) -> bool {
        [self.score, self.left, self.top, self.right, self.bottom].iter().all(|number| number.is_finite())
            && self.landmarks.iter().all(|(x, y)| x.is_finite() && y.is_finite())
    }

    fn area(&self) -> f32 {
        (self.right - self.left).max(0.0) * (self.bottom - self.top).max(0.0)
    }

    fn iou(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let shared = width * height;
        shared / (self.area() + other.area() - shared)
    }
}

/// Keeps the surest of every group of overlapping boxes, surest first.
///
/// A box goes when it shares more than `max_iou` of the joint area with a surer one that stays.
pub fn suppress(mut candidates: Vec<Candidate>, max_iou: f32) -> Vec<Candidate> {
    candidates.retain(Candidate::is_finite);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.iter().all(|surer| surer.iou(&candidate) <= max_iou) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(score: f32, left: f32, side: f32) -> Candidate {
        Candidate { score, left, top: 0.0, right: left + side, bottom: side, landmarks: Vec::new() }
    }

    #[test]
    fn the_surest_of_overlapping_boxes_stays_and_neighbours_stay_too() {
        let kept = suppress(vec![square(0.7, 1.0, 10.0), square(0.9, 0.0, 10.0), square(0.8, 8.0, 10.0)], 0.45);
        assert_eq!(kept.iter().map(|face| face.score).collect::<Vec<_>>(), [0.9, 0.8]);
    }

    #[test]
    fn a_box_suppressed_by_one_that_is_itself_suppressed_stays() {
        let chain = vec![square(0.9, 0.0, 10.0), square(0.8, 3.0, 10.0), square(0.7, 6.0, 10.0)];
        assert_eq!(suppress(chain, 0.45).len(), 2);
    }

    #[test]
    fn numbers_that_are_none_propose_nothing() {
        let broken = [f32::NAN, f32::INFINITY].map(|number| square(0.9, number, 10.0));
        let mut candidates = vec![square(f32::NAN, 0.0, 10.0), square(0.5, 0.0, 10.0)];
        candidates.extend(broken);
        candidates.push(Candidate { landmarks: vec![(f32::NAN, 0.0)], ..square(0.6, 50.0, 1.0) });
        assert_eq!(suppress(candidates, 0.45), [square(0.5, 0.0, 10.0)]);
    }
}
