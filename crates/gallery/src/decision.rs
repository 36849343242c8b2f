//! The decision who a face is. It is made only here, so that live detections, verification and, later, tracks agree.

use std::cmp::Ordering;

use contracts::SubjectId;

use crate::best::Match;
use crate::galleries::Answer;
use crate::seam::GalleryError;

/// One look at a face: the result of the search for its embedding.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// It was compared with the gallery. The matches are those of a search, which leaves out subjects that a negative excludes,
    /// so one is enough.
    Compared(Vec<Match>),
    /// The gallery was out of reach.
    Unchecked,
}

impl From<Result<Answer, GalleryError>> for Look {
    fn from(answer: Result<Answer, GalleryError>) -> Self {
        answer.map_or(Self::Unchecked, |answer| Self::Compared(answer.matches))
    }
}

/// Who a face is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Identity {
    /// An enrolled subject.
    Subject {
        /// The subject.
        id: SubjectId,
        /// Cosine of its best look, −1 to 1.
        similarity: f32,
    },
    /// Compared, and nobody of the gallery.
    Unknown,
    /// Not compared with the gallery. It is never shown as unknown.
    Unchecked,
}

/// Decides over one or several looks at the same face. A subject counts for a look if its similarity is at least `threshold` and it
/// is not nearer to one of the subject's negatives (equally near is not nearer to the subject either, and does not count). Of
/// these, the nearest gets the vote of the look. The subject with the most votes is the identity; of equal ones that with the
/// higher similarity, then the lower id. A look without a subject does not vote: a face turned away is no evidence of another
/// person.
///
/// More looks are more comparisons, so more chances of a false match. A caller with several looks chooses `threshold` for all
/// of them (looks × subjects).
pub fn decide(looks: &[Look], threshold: f32) -> Identity {
    let compared = looks.iter().filter_map(|look| match look {
        Look::Compared(matches) => Some(matches),
        Look::Unchecked => None,
    });
    let mut any = false;
    let mut votes: Vec<Votes> = Vec::new();
    for matches in compared {
        any = true;
        let Some(best) = matches.iter().filter(|found| counts(found, threshold)).min_by(|a, b| nearer(a, b)) else {
            continue;
        };
        match votes.iter_mut().find(|votes| votes.id == best.subject) {
            Some(votes) => votes.add(best.similarity),
            None => votes.push(Votes { id: best.subject, looks: 1, similarity: best.similarity }),
        }
    }
    let Some(winner) = votes.into_iter().min_by(Votes::compare) else {
        return if any { Identity::Unknown } else { Identity::Unchecked };
    };
    Identity::Subject { id: winner.id, similarity: winner.similarity }
}

fn counts(found: &Match, threshold: f32) -> bool {
    found.similarity >= threshold && found.negative.is_none_or(|negative| found.similarity > negative)
}

fn nearer(a: &Match, b: &Match) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.subject.cmp(&b.subject))
}

/// The looks that are a subject's.
struct Votes {
    id: SubjectId,
    looks: usize,
    similarity: f32,
}

impl Votes {
    fn add(&mut self, similarity: f32) {
        self.looks += 1;
        self.similarity = self.similarity.max(similarity);
    }

    /// The winner is the least.
    fn compare(&self, other: &Self) -> Ordering {
        let similarity = other.similarity.total_cmp(&self.similarity);
        other.looks.cmp(&self.looks).then(similarity).then(self.id.cmp(&other.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::subject;
    use contracts::VectorId;

    fn found(id: u128, similarity: f32) -> Match {
        Match { subject: subject(id), similarity, vector: VectorId::from_uuid(uuid::Uuid::nil()), negative: None }
    }

    fn rejected(id: u128, similarity: f32, negative: f32) -> Match {
        Match { negative: Some(negative), ..found(id, similarity) }
    }

    fn is(id: u128, similarity: f32) -> Identity {
        Identity::Subject { id: subject(id), similarity }
    }

    #[test]
    fn the_nearest_subject_over_the_threshold_is_the_identity() {
        let look = [Look::Compared(vec![found(1, 0.7), found(2, 0.6)])];
        assert_eq!(decide(&look, 0.5), is(1, 0.7));
        assert_eq!(decide(&look, 0.7), is(1, 0.7));
        assert_eq!(decide(&look, 0.71), Identity::Unknown);
        let equal = [Look::Compared(vec![found(9, 0.7), found(3, 0.7)])];
        assert_eq!(decide(&equal, 0.5), is(3, 0.7));
    }

    #[test]
    fn a_face_that_was_not_compared_is_never_unknown() {
        assert_eq!(decide(&[Look::Unchecked], 0.5), Identity::Unchecked);
        assert_eq!(decide(&[], 0.5), Identity::Unchecked);
        assert_eq!(decide(&[Look::Compared(Vec::new())], 0.5), Identity::Unknown);
        assert_eq!(decide(&[Look::Unchecked, Look::Compared(Vec::new())], 0.5), Identity::Unknown);
        let down: Result<Answer, GalleryError> = Err(GalleryError::Unavailable("down".to_owned()));
        assert_eq!(decide(&[down.into()], 0.5), Identity::Unchecked);
    }

    #[test]
    fn a_look_nearer_to_a_negative_is_not_that_subject() {
        let look = |negative| [Look::Compared(vec![rejected(1, 0.7, negative), found(2, 0.6)])];
        assert_eq!(decide(&look(0.69), 0.5), is(1, 0.7));
        assert_eq!(decide(&look(0.7), 0.5), is(2, 0.6));
        assert_eq!(decide(&look(0.8), 0.5), is(2, 0.6));
        assert_eq!(decide(&look(0.8), 0.65), Identity::Unknown);
    }

    #[test]
    fn the_most_looks_decide_and_then_the_nearest() {
        let look = |id, similarity| Look::Compared(vec![found(id, similarity)]);
        let looks = [look(1, 0.9), look(2, 0.6), look(2, 0.7), look(3, 0.1), Look::Unchecked];
        assert_eq!(decide(&looks, 0.5), is(2, 0.7));
        assert_eq!(decide(&[look(1, 0.6), look(2, 0.7)], 0.5), is(2, 0.7));
        assert_eq!(decide(&[look(4, 0.7), look(2, 0.7)], 0.5), is(2, 0.7));
    }
}
