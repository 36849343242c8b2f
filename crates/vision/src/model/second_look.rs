//! The second look at an image with a large face.
//!
//! A network that finds faces has a largest face that it sees as a whole: within a larger one it reports several boxes, and takes small
//! patterns on clothes for faces. So an image in which it reports a large face is looked at again at half the scale, and once more while
//! the largest face is still too large. In: the candidates of both looks, in pixels of the original. Out: one list, the best first.
//!
//! Guarantees: an image without a large face is never changed. Every face of the second look lies around the centre of one of the first, so
//! a second look adds no face to a place where there was none. If it sees none of the first look's faces, the first look stays.
//! docs/MODELS.md has the measurements.

use super::nms::Candidate;
use super::prepare::Fit;

/// The second look decides on boxes of at least this longer side in the input of the first look: it still has half of that. The boxes of
/// smaller faces would become less exact.
const DECIDED: f32 = 64.0;

/// Whether a look has a box whose longer side, in pixels of its input, reaches `large`.
pub fn has_large(found: &[Candidate], fit: &Fit, large: f32) -> bool {
    found.iter().any(|candidate| side(candidate, fit) >= large)
}

/// Both looks as one. `fit` is that of the first one, and `max_iou` the limit of two boxes of one face.
pub fn merge(first: Vec<Candidate>, second: Vec<Candidate>, fit: &Fit, large: f32, max_iou: f32) -> Vec<Candidate> {
    let seen = |candidate: &Candidate| {
        first.iter().any(|other| side(other, fit) >= DECIDED && has_centre_of(candidate, other))
    };
    let mut kept: Vec<Candidate> = second.into_iter().filter(seen).collect();
    if kept.is_empty() {
        return first;
    }
    let is_other_face = |other: &Candidate| {
        kept.iter().all(|face| {
            let is_on_body = side(face, fit) >= large && is_on_person(face, other);
            !is_on_body && face.iou(other) <= max_iou
        })
    };
    let is_small = |face: &Candidate| side(face, fit) < DECIDED;
    let mut stay: Vec<Candidate> = first.into_iter().filter(|face| is_small(face) && is_other_face(face)).collect();
    kept.append(&mut stay);
    kept.sort_by(|a, b| b.score.total_cmp(&a.score));
    kept
}

/// The longer side in pixels of the input.
fn side(candidate: &Candidate, fit: &Fit) -> f32 {
    let (across, down) = fit.scale_back();
    ((candidate.right - candidate.left) / across).max((candidate.bottom - candidate.top) / down)
}

fn centre(candidate: &Candidate) -> (f32, f32) {
    ((candidate.left + candidate.right) / 2.0, (candidate.top + candidate.bottom) / 2.0)
}

fn has_centre_of(face: &Candidate, other: &Candidate) -> bool {
    let (_, y) = centre(other);
    is_on_person(face, other) && y <= face.bottom
}

/// Whether a box lies on a face or below it, no further to the side. A face there is nearer to the camera than this person, so it cannot be
/// much smaller.
fn is_on_person(face: &Candidate, other: &Candidate) -> bool {
    let (x, y) = centre(other);
    (face.left..=face.right).contains(&x) && y >= face.top
}

#[cfg(test)]
mod tests {
    use super::super::prepare::Size;
    use super::*;

    const LARGE: f32 = 480.0;

    fn face(score: f32, left: f32, top: f32, side: f32) -> Candidate {
        Candidate { class: 0, score, left, top, right: left + side, bottom: top + side, landmarks: Vec::new() }
    }

    /// The network sees half of each side of the original.
    fn fit() -> Fit {
        let (original, scaled) = (Size { width: 3_000, height: 4_000 }, Size { width: 1_500, height: 2_000 });
        Fit { original, scaled, input: scaled }
    }

    fn merged(first: &[Candidate], second: &[Candidate]) -> Vec<Candidate> {
        merge(first.to_vec(), second.to_vec(), &fit(), LARGE, 0.45)
    }

    #[test]
    fn a_box_is_large_by_its_longer_side_in_the_input() {
        let tall = |height: f32| Candidate { bottom: height, ..face(0.9, 0.0, 0.0, 600.0) };
        assert!(!has_large(&[tall(950.0)], &fit(), LARGE) && !has_large(&[], &fit(), LARGE));
        assert!(has_large(&[face(0.9, 0.0, 0.0, 50.0), tall(970.0)], &fit(), LARGE));
    }

    #[test]
    fn the_boxes_within_a_large_face_become_one() {
        let parts = [face(0.8, 500.0, 500.0, 1_100.0), face(0.7, 900.0, 1_000.0, 1_000.0)];
        let whole = face(0.95, 400.0, 400.0, 1_800.0);
        assert_eq!(merged(&parts, std::slice::from_ref(&whole)), [whole]);
    }

    #[test]
    fn small_faces_are_kept_beside_a_person_and_not_on_one() {
        let whole = face(0.8, 1_000.0, 1_000.0, 1_000.0);
        let (beside, above) = (face(0.9, 100.0, 1_500.0, 40.0), face(0.7, 1_200.0, 300.0, 60.0));
        let (on_tie, in_face) = (face(0.75, 1_500.0, 2_900.0, 36.0), face(0.72, 1_300.0, 1_300.0, 36.0));
        let first = [whole.clone(), beside.clone(), above.clone(), on_tie, in_face];
        assert_eq!(merged(&first, std::slice::from_ref(&whole)), [beside, whole, above]);
    }

    #[test]
    fn the_second_look_decides_on_faces_that_it_can_see() {
        let (whole, neighbour) = (face(0.9, 1_000.0, 1_000.0, 1_000.0), face(0.8, 100.0, 1_000.0, 300.0));
        let pattern = face(0.65, 600.0, 2_800.0, 400.0);
        let again = [whole.clone(), Candidate { score: 0.85, ..neighbour.clone() }];
        assert_eq!(merged(&[whole, neighbour, pattern], &again), again);
    }

    #[test]
    fn the_first_look_stays_where_the_second_one_sees_nothing() {
        let (whole, small) = (face(0.9, 0.0, 0.0, 1_000.0), face(0.8, 1_800.0, 0.0, 100.0));
        let elsewhere = face(0.7, 2_000.0, 2_000.0, 600.0);
        assert_eq!(merged(&[whole.clone(), small.clone()], &[elsewhere]), [whole, small]);
    }

    #[test]
    fn a_large_face_that_only_the_first_look_sees_is_none() {
        let (whole, pattern) = (face(0.8, 0.0, 0.0, 1_000.0), face(0.9, 1_800.0, 0.0, 1_000.0));
        assert_eq!(merged(&[pattern, whole.clone()], std::slice::from_ref(&whole)), [whole]);
    }

    #[test]
    fn the_second_look_adds_no_face_and_changes_no_small_one() {
        let (whole, small) = (face(0.9, 1_000.0, 1_000.0, 1_000.0), face(0.8, 100.0, 1_000.0, 100.0));
        let again = [whole.clone(), face(0.7, 2_200.0, 100.0, 600.0), Candidate { score: 0.75, ..small.clone() }];
        assert_eq!(merged(&[whole.clone(), small.clone()], &again), [whole, small]);
    }
}
