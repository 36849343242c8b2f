//! The plan of windows: which parts of a recording are transcribed, each by itself.
//!
//! In: where somebody speaks, and how loud it is. Out: windows in their order, without overlap.
//!
//! Promises:
//! - All speech is in a window, and a silence of [`LONGEST_SILENCE`] or more is in none: Whisper invents speech where there is none.
//! - A window is at most 60 s long, and it is cut where nobody speaks. Only where somebody speaks for longer without a pause is it cut at the
//!   quietest 50 ms before 75 s.
//! - The plan follows from its arguments alone, so a plan that is made again is the same.
//!
//! Whisper computes 30 s whatever it gets, so pieces of speech with short pauses share a window.

use std::ops::Range;

/// Samples in a second.
const RATE: u64 = 16_000;
/// Samples in a millisecond. Windows begin and end at whole ones.
const MILLISECOND: u64 = RATE / 1_000;
/// Samples in a block of which the loudness is known.
const BLOCK: u64 = RATE / 20;
/// A silence that is in no window.
pub const LONGEST_SILENCE: u64 = 2 * RATE;
/// Longest window that is cut at a pause.
const LONGEST: u64 = 60 * RATE;
/// A window that is to be cut ends after this where it can: two runs of Whisper are then well used.
const LATE: u64 = 45 * RATE;
/// A window that is cut in the middle of speech ends after this, and before [`LONGEST_SPEECH`].
const EARLIEST_CUT: u64 = 30 * RATE;
/// Longest window.
const LONGEST_SPEECH: u64 = 75 * RATE;

/// A part of a recording, in samples of 16 kHz. It begins and ends at whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first sample.
    pub start: u64,
    /// The sample after its last one.
    pub end: u64,
}

impl Window {
    /// Its start in milliseconds.
    pub const fn start_ms(&self) -> u64 {
        self.start / MILLISECOND
    }

    /// Its end in milliseconds.
    pub const fn end_ms(&self) -> u64 {
        self.end / MILLISECOND
    }
}

/// The windows of a recording of this many samples. `speech` has where somebody speaks; `loudness` has a number for each 50 ms from the start,
/// such as the root of the mean of the squares.
pub fn plan(speech: &[Range<u64>], loudness: &[f32], samples: u64) -> Vec<Window> {
    let spans = whole(speech, samples);
    let mut windows = Vec::new();
    let mut first = 0;
    while first < spans.len() {
        let end = stretch_end(&spans, first);
        cut_stretch(&spans[first..end], loudness, &mut windows);
        first = end;
    }
    windows
}

/// The spans at whole milliseconds, in their order, joined where they touch.
fn whole(speech: &[Range<u64>], samples: u64) -> Vec<Range<u64>> {
    let end_of_all = samples.div_ceil(MILLISECOND) * MILLISECOND;
    let mut spans: Vec<Range<u64>> = speech
        .iter()
        .filter(|span| span.start < span.end)
        .map(|span| {
            span.start / MILLISECOND * MILLISECOND..(span.end.div_ceil(MILLISECOND) * MILLISECOND).min(end_of_all)
        })
        .filter(|span| span.start < span.end)
        .collect();
    spans.sort_unstable_by_key(|span| span.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

/// The index after the last span that only short pauses separate from the first one.
fn stretch_end(spans: &[Range<u64>], first: usize) -> usize {
    let mut end = first + 1;
    while end < spans.len() && spans[end].start - spans[end - 1].end < LONGEST_SILENCE {
        end += 1;
    }
    end
}

/// Cuts spans with short pauses between them into windows.
fn cut_stretch(spans: &[Range<u64>], loudness: &[f32], windows: &mut Vec<Window>) {
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return };
    let (mut start, end) = (first.start, last.end);
    while end - start > LONGEST {
        let (cut, next) = match pause(spans, start) {
            Some(pause) => (pause.start, pause.end),
            None => {
                let quiet = quietest(loudness, start + EARLIEST_CUT..(start + LONGEST_SPEECH).min(end - RATE));
                (quiet, quiet)
            }
        };
        windows.push(Window { start, end: cut });
        start = next;
    }
    windows.push(Window { start, end });
}

/// The pause at which a window that begins at `start` is cut: the longest late one, else the last one. `None` if there is none within the
/// longest window.
fn pause(spans: &[Range<u64>], start: u64) -> Option<Range<u64>> {
    // The spans that end within the window; the pause after each lies before the next one.
    let ends = spans.partition_point(|span| span.end <= start + LONGEST);
    let begins = spans.partition_point(|span| span.end <= start);
    let pauses = (begins..ends).filter_map(|index| Some(spans[index].end..spans.get(index + 1)?.start));
    let rank = |pause: &Range<u64>| {
        let is_late = pause.start >= start + LATE;
        // The last one of the early pauses, however short; the longest one of the late ones, and the last one of equally long ones.
        (is_late, if is_late { pause.end - pause.start } else { 0 }, pause.start)
    };
    pauses.max_by_key(rank)
}

/// The middle of the quietest block that lies within the range; its start, if none does.
fn quietest(loudness: &[f32], range: Range<u64>) -> u64 {
    let first = range.start.div_ceil(BLOCK);
    let blocks = first..(range.end / BLOCK).min(loudness.len() as u64).max(first);
    let level = |block: &u64| usize::try_from(*block).ok().and_then(|block| loudness.get(block).copied());
    let quietest = blocks.min_by(|one, other| {
        let [one, other] =
            [level(one), level(other)].map(|level| level.filter(|level| !level.is_nan()).unwrap_or(f32::MAX));
        one.total_cmp(&other)
    });
    quietest.map_or(range.start, |block| block * BLOCK + BLOCK / 2)
}

#[cfg(test)]
mod tests;
