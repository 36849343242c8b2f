//! From the probability of speech in each step to spans: with hysteresis, without clicks, and with some room before and after.

use std::ops::Range;

/// A span begins at this probability, and ends below the other: one limit alone would cut a word at a soft sound.
const BEGIN: f32 = 0.5;
const END: f32 = 0.35;

/// Samples of so long a silence end a span: 0.3 s.
const MIN_SILENCE: u64 = 4_800;
/// Shorter spans are clicks and coughs: 0.25 s.
const MIN_SPEECH: u64 = 4_000;
/// Room before and after: a soft beginning is heard late. 0.2 s.
const ROOM: u64 = 3_200;

/// The spans of a recording so far.
#[derive(Debug, Default)]
pub(super) struct Spans {
    found: Vec<Range<u64>>,
    /// Where the next step begins.
    at: u64,
    /// Where the open span begins.
    begin: Option<u64>,
    /// Where the silence in the open span begins.
    silence: Option<u64>,
}

impl Spans {
    /// The next step of so many samples.
    pub fn push(&mut self, probability: f32, samples: u64) {
        let at = self.at;
        self.at += samples;
        let Some(begin) = self.begin else {
            self.begin = (probability >= BEGIN).then_some(at);
            return;
        };
        if probability >= BEGIN {
            self.silence = None;
        } else if probability < END {
            let silence = *self.silence.get_or_insert(at);
            if self.at - silence >= MIN_SILENCE {
                self.end(begin..silence);
            }
        }
    }

    fn end(&mut self, span: Range<u64>) {
        (self.begin, self.silence) = (None, None);
        if span.end - span.start >= MIN_SPEECH {
            self.found.push(span);
        }
    }

    /// The spans of a recording of so many samples, each with its room. Those that touch are one.
    pub fn finish(mut self, samples: u64) -> Vec<Range<u64>> {
        if let Some(begin) = self.begin {
            let end = self.silence.unwrap_or(self.at).min(samples).max(begin);
            self.end(begin..end);
        }
        let mut spans: Vec<Range<u64>> = Vec::with_capacity(self.found.len());
        for span in self.found {
            let (start, end) = (span.start.saturating_sub(ROOM), (span.end + ROOM).min(samples));
            match spans.last_mut() {
                Some(last) if start <= last.end => last.end = end,
                _ => spans.push(start..end),
            }
        }
        spans
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "the ranges of speech are compared, of which there may be one")]
mod tests {
    use super::*;

    const STEP: u64 = 512;

    /// The spans of these probabilities, each of so many steps.
    fn spans(parts: &[(f32, u64)]) -> Vec<Range<u64>> {
        let mut spans = Spans::default();
        for (probability, steps) in parts {
            for _ in 0..*steps {
                spans.push(*probability, STEP);
            }
        }
        spans.finish(parts.iter().map(|(_, steps)| steps * STEP).sum())
    }

    #[test]
    fn a_span_has_room_before_and_after() {
        assert_eq!(spans(&[(0.1, 40), (0.9, 20), (0.1, 40)]), [40 * STEP - ROOM..60 * STEP + ROOM]);
        assert_eq!(spans(&[(0.9, 20)]), [0..20 * STEP], "a recording that is all speech");
    }

    #[test]
    fn a_soft_sound_does_not_cut_a_span_and_a_pause_does() {
        assert_eq!(spans(&[(0.1, 40), (0.9, 20), (0.4, 20), (0.9, 20), (0.1, 40)]).len(), 1);
        assert_eq!(spans(&[(0.9, 20), (0.1, 3), (0.9, 20)]).len(), 1, "a short pause");
        assert_eq!(spans(&[(0.9, 20), (0.1, 40), (0.9, 20)]).len(), 2);
    }

    #[test]
    fn a_click_is_no_speech() {
        for parts in [&[(0.1, 40), (0.9, 7), (0.1, 40)][..], &[(0.1, 40)][..], &[][..]] {
            assert!(spans(parts).is_empty(), "{parts:?}");
        }
    }

    #[test]
    fn spans_whose_rooms_touch_are_one() {
        // A pause of 0.32 s ends a span, and their rooms of 0.2 s meet in it.
        assert_eq!(spans(&[(0.9, 20), (0.1, 10), (0.9, 20)]), [0..50 * STEP]);
    }
}
