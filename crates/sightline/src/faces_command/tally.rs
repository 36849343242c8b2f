//! Counts of an enrolment, as its lines show them.

use std::fmt;

use super::requests::Stored;
use crate::client::Refusal;
use crate::out::{counted, counted_label};

/// What became of images.
#[derive(Debug, Default)]
pub struct Tally {
    enrolled: usize,
    already_there: usize,
    refused: usize,
    /// Not readable, or given up after the time limit.
    failed: usize,
}

/// What became of all people and their images.
#[derive(Debug, Default)]
pub struct Summary {
    /// People in the folder.
    pub people: usize,
    /// Those of them whose images were all sent, or who have none.
    pub done: usize,
    /// Those of the done who have no enrolled image.
    pub without: usize,
    /// What became of the images.
    pub images: Tally,
}

impl Tally {
    /// Counts so many images with this outcome.
    pub fn count(&mut self, outcome: &anyhow::Result<Stored>, images: usize) {
        let count = match outcome {
            Ok(Stored::New) => &mut self.enrolled,
            Ok(Stored::Before) => &mut self.already_there,
            Err(error) if error.is::<Refusal>() => &mut self.refused,
            Err(_) => &mut self.failed,
        };
        *count += images;
    }

    /// Whether the server has an image.
    const fn has_image(&self) -> bool {
        self.enrolled + self.already_there > 0
    }
}

impl Summary {
    /// Counts a person whose images were all sent.
    pub fn finish(&mut self, images: &Tally) {
        self.done += 1;
        self.without += usize::from(!images.has_image());
    }

    /// Whether any image has an outcome.
    pub const fn is_begun(&self) -> bool {
        let Tally { enrolled, already_there, refused, failed } = self.images;
        enrolled + already_there + refused + failed > 0
    }

    /// Whether every image is enrolled, and everybody has one.
    pub const fn is_complete(&self) -> bool {
        self.done == self.people && self.without == 0 && self.images.refused + self.images.failed == 0
    }
}

/// `3 images enrolled, 2 already there, 1 refused`
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { already_there, refused, .. } = self;
        let enrolled = counted(self.enrolled, "image", "images");
        write!(f, "{enrolled} enrolled, {already_there} already there, {refused} refused")?;
        match self.failed {
            0 => Ok(()),
            failed => write!(f, ", {failed} failed"),
        }
    }
}

/// `2 of 5 people done: 3 images enrolled, 2 already there, 1 refused; 1 person has no enrolled image`
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let people = counted_label(self.people, "person");
        if self.done < self.people {
            write!(f, "{} of {people} done: {}", self.done, self.images)?;
        } else {
            write!(f, "{people}: {}", self.images)?;
        }
        match self.without {
            0 => Ok(()),
            1 => f.write_str("; 1 person has no enrolled image"),
            people => write!(f, "; {people} people have no enrolled image"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(outcomes: &[(anyhow::Result<Stored>, usize)]) -> Tally {
        let mut tally = Tally::default();
        outcomes.iter().for_each(|(outcome, images)| tally.count(outcome, *images));
        tally
    }

    fn failure() -> anyhow::Result<Stored> {
        Err(anyhow::anyhow!("the file cannot be read"))
    }

    #[test]
    fn a_failure_is_shown_only_where_there_is_one() {
        let images = tally(&[(Ok(Stored::New), 1), (Ok(Stored::Before), 2)]);
        assert_eq!(images.to_string(), "1 image enrolled, 2 already there, 0 refused");
        let images = tally(&[(failure(), 3)]);
        assert_eq!(images.to_string(), "0 images enrolled, 0 already there, 0 refused, 3 failed");
    }

    #[test]
    fn a_person_without_an_image_is_counted_and_not_complete() {
        let mut summary = Summary { people: 2, ..Summary::default() };
        assert!(!summary.is_begun());
        summary.finish(&tally(&[(Ok(Stored::Before), 1)]));
        assert_eq!(summary.to_string(), "1 of 2 people done: 0 images enrolled, 0 already there, 0 refused");
        assert!(!summary.is_complete());
        summary.finish(&Tally::default());
        assert!(!summary.is_complete());
        let expected = "2 people: 0 images enrolled, 0 already there, 0 refused; 1 person has no enrolled image";
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn everything_stored_is_complete_and_a_failure_is_not() {
        for (outcome, complete) in [(Ok(Stored::New), true), (Ok(Stored::Before), true), (failure(), false)] {
            let mut summary = Summary { people: 1, ..Summary::default() };
            summary.images.count(&outcome, 1);
            // Another image of the person.
            summary.finish(&tally(&[(Ok(Stored::New), 1)]));
            assert_eq!((summary.is_begun(), summary.is_complete()), (true, complete), "{summary}");
        }
    }
}
