//! Non-maximum suppression: of overlapping boxes of one class, only the one with the highest score is kept; where a detector says so,
//! also of boxes of different classes that overlap more.

/// Maximum number of candidates that are compared, the best first. It bounds the quadratic number of
/// comparisons for an image crafted to give a candidate in every cell.
const MAX_CANDIDATES: usize = 5_000;

/// A box that the network proposes, in pixels of the network's input or of the original, depending on the context.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Index of the class among the model's labels.
    pub class: usize,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// Left edge.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Right edge.
    pub right: f32,
    /// Bottom edge.
    pub bottom: f32,
    /// Landmarks, `(x, y)`.
    pub landmarks: Vec<(f32, f32)>,
}

impl Candidate {
    /// Whether every number is finite. Candidates with an overflow are dropped.
    pub fn is_finite(&self) -> bool {
        [self.score, self.left, self.top, self.right, self.bottom].iter().all(|number| number.is_finite())
            && self.landmarks.iter().all(|(x, y)| x.is_finite() && y.is_finite())
    }

    fn area(&self) -> f32 {
        (self.right - self.left).max(0.0) * (self.bottom - self.top).max(0.0)
    }

    /// Intersection over union of two boxes, 0 to 1.
    pub fn iou(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let intersection = width * height;
        intersection / (self.area() + other.area() - intersection)
    }
}

/// Removes every box whose IoU with a better kept box of the same class is above `max_iou`. Returns the best first.
pub fn suppress(mut candidates: Vec<Candidate>, max_iou: f32) -> Vec<Candidate> {
    candidates.retain(Candidate::is_finite);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    keep_unless(candidates, |better, candidate| better.class == candidate.class && better.iou(candidate) > max_iou)
}

/// Removes every box whose IoU with a better kept box of any class is above `max_iou`. In and out: the best first.
pub fn suppress_across(candidates: Vec<Candidate>, max_iou: f32) -> Vec<Candidate> {
    keep_unless(candidates, |better, candidate| better.iou(candidate) > max_iou)
}

/// Keeps each candidate, unless one that was kept before suppresses it.
fn keep_unless(candidates: Vec<Candidate>, suppresses: impl Fn(&Candidate, &Candidate) -> bool) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if !kept.iter().any(|better| suppresses(better, &candidate)) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(score: f32, left: f32, side: f32) -> Candidate {
        Candidate { class: 0, score, left, top: 0.0, right: left + side, bottom: side, landmarks: Vec::new() }
    }

    #[test]
    fn the_best_of_overlapping_boxes_and_neighbours_are_kept() {
        let kept = suppress(vec![square(0.7, 1.0, 10.0), square(0.9, 0.0, 10.0), square(0.8, 8.0, 10.0)], 0.45);
        assert_eq!(kept.iter().map(|face| face.score).collect::<Vec<_>>(), [0.9, 0.8]);
    }

    #[test]
    fn boxes_of_different_classes_do_not_suppress_each_other() {
        let (car, person) = (square(0.9, 0.0, 10.0), Candidate { class: 1, ..square(0.8, 0.0, 10.0) });
        let second_person = Candidate { score: 0.7, ..person.clone() };
        assert_eq!(suppress(vec![car.clone(), person.clone(), second_person], 0.45), [car, person]);
    }

    #[test]
    fn a_suppressed_box_suppresses_nothing() {
        let chain = vec![square(0.9, 0.0, 10.0), square(0.8, 3.0, 10.0), square(0.7, 6.0, 10.0)];
        assert_eq!(suppress(chain, 0.45).len(), 2);
    }

    #[test]
    fn one_thing_has_one_class_where_classes_exclude_each_other() {
        let car = square(0.9, 0.0, 10.0);
        let same_thing = Candidate { class: 1, ..square(0.8, 1.0, 10.0) };
        let behind_it = Candidate { class: 1, ..square(0.7, 4.0, 10.0) };
        let all = vec![behind_it.clone(), same_thing.clone(), car.clone()];
        let of_each_class = suppress(all, 0.9);
        assert_eq!(of_each_class, [car.clone(), same_thing, behind_it.clone()]);
        assert_eq!(suppress_across(of_each_class, 0.7), [car, behind_it]);
    }

    #[test]
    fn candidates_with_numbers_that_are_not_finite_are_removed() {
        let broken = [f32::NAN, f32::INFINITY].map(|number| square(0.9, number, 10.0));
        let mut candidates = vec![square(f32::NAN, 0.0, 10.0), square(0.5, 0.0, 10.0)];
        candidates.extend(broken);
        candidates.push(Candidate { landmarks: vec![(f32::NAN, 0.0)], ..square(0.6, 50.0, 1.0) });
        assert_eq!(suppress(candidates, 0.45), [square(0.5, 0.0, 10.0)]);
    }
}
