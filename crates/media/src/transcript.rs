//! Texts of windows: as they are kept, with times from the start of the window, and as they are shown, at their place in the recording.
//!
//! A kept text names neither the place of the window nor the provider, so the same sound in another book has the same text. Why it is
//! doubtful belongs to the text.

use contracts::{TranscriptFlag, TranscriptSegment};
use store::relational::WindowRecord;

use crate::error::MediaError;

/// The body of the checkpoint of a window. Times are milliseconds from the window's start.
pub fn body(segments: &[TranscriptSegment]) -> Vec<u8> {
    let bare = |segment: &TranscriptSegment| TranscriptSegment { provider: None, model: None, ..segment.clone() };
    let bare: Vec<TranscriptSegment> = segments.iter().map(bare).collect();
    // A value of numbers and texts can always be written.
    serde_json::to_vec(&bare).unwrap_or_default()
}

/// The segments of a window at their place in the recording, with the provider that made them. Times that an engine set outside of the window
/// are moved to its edge.
///
/// # Errors
/// `Damaged` if the body is not one.
pub fn placed(window: &WindowRecord, body: &[u8]) -> Result<Vec<TranscriptSegment>, MediaError> {
    let segments: Vec<TranscriptSegment> = serde_json::from_slice(body)
        .map_err(|error| MediaError::Damaged(format!("the text of window {} cannot be read: {error}", window.n)))?;
    let flag = window.flag.as_deref().and_then(flag_named);
    let at = |ms: u64| window.start_ms.saturating_add(ms).min(window.end_ms);
    let place = |mut segment: TranscriptSegment| {
        (segment.start_ms, segment.end_ms) = (at(segment.start_ms), at(segment.end_ms).max(at(segment.start_ms)));
        for word in &mut segment.words {
            (word.start_ms, word.end_ms) = (at(word.start_ms), at(word.end_ms).max(at(word.start_ms)));
        }
        let flag = segment.flag.or(flag);
        TranscriptSegment { provider: window.provider.clone(), model: window.model.clone(), flag, ..segment }
    };
    Ok(segments.into_iter().map(place).collect())
}

/// The flag with this name; `None` for that of a later release.
fn flag_named(name: &str) -> Option<TranscriptFlag> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use contracts::{BookId, TranscriptWord};
    use store::relational::WindowState;

    use super::*;

    fn window() -> WindowRecord {
        WindowRecord {
            book: BookId::now(),
            generation: 1,
            n: 3,
            start_ms: 51_000,
            end_ms: 62_000,
            state: WindowState::Done,
            taken: 1,
            crashes: 0,
            key: Some([1; 32]),
            provider: Some("here".to_owned()),
            model: Some("whisper-tiny.en".to_owned()),
            flag: Some("loop".to_owned()),
            cause: None,
            detail: None,
            wake_at: None,
        }
    }

    fn segment(start_ms: u64, end_ms: u64) -> TranscriptSegment {
        let word = TranscriptWord { start_ms, end_ms, text: "ask".to_owned() };
        let (text, words) = ("ask not".to_owned(), vec![word]);
        TranscriptSegment { start_ms, end_ms, text, words, provider: None, model: None, flag: None }
    }

    #[test]
    fn a_window_is_shown_at_its_place_with_its_provider() {
        let placed = placed(&window(), &body(&[segment(100, 9_000), segment(9_000, 12_400)])).unwrap();
        let times: Vec<(u64, u64)> = placed.iter().map(|segment| (segment.start_ms, segment.end_ms)).collect();
        assert_eq!(times, [(51_100, 60_000), (60_000, 62_000)], "and not after its end");
        assert_eq!((placed[1].words[0].start_ms, placed[1].words[0].end_ms), (60_000, 62_000));
        assert_eq!((placed[0].provider.as_deref(), placed[0].flag), (Some("here"), Some(TranscriptFlag::Loop)));
    }

    #[test]
    fn what_is_kept_does_not_say_who_made_it() {
        let made = TranscriptSegment { provider: Some("groq".to_owned()), ..segment(0, 5) };
        assert_eq!(body(std::slice::from_ref(&made)), body(&[segment(0, 5)]));
        let doubtful = TranscriptSegment { flag: Some(TranscriptFlag::TooFast), ..made };
        let shown = placed(&window(), &body(&[doubtful, segment(5, 9)])).unwrap();
        let flags: Vec<_> = shown.into_iter().map(|segment| segment.flag).collect();
        assert_eq!(flags, [Some(TranscriptFlag::TooFast), Some(TranscriptFlag::Loop)], "its own, else the window's");
    }

    #[test]
    fn a_body_that_is_none_is_named() {
        let error = placed(&window(), b"[{}]").unwrap_err().to_string();
        assert!(error.contains("window 3"), "{error}");
        let later = WindowRecord { flag: Some("of_a_later_release".to_owned()), ..window() };
        assert_eq!(placed(&later, &body(&[segment(0, 1)])).unwrap()[0].flag, None);
    }
}
