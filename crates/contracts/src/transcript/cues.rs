//! Subtitles: `WebVTT` (W3C) and `SubRip`. Each segment is one cue.
//!
//! A text comes from an engine, so it may have anything in it. It cannot end a cue or begin another: it is one line, without `-->`, and with
//! the characters escaped that begin a tag.

use std::fmt::Write as _;

use super::TranscriptSegment;

/// The segments as `WebVTT`.
pub(super) fn webvtt(segments: &[TranscriptSegment]) -> String {
    let mut out = "WEBVTT\n".to_owned();
    for (segment, line) in lines(segments) {
        let text = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let (start, end) = times(segment, '.');
        // Writing to a string succeeds.
        let _ = write!(out, "\n{start} --> {end}\n{text}\n");
    }
    out
}

/// The segments as `SubRip`.
pub(super) fn subrip(segments: &[TranscriptSegment]) -> String {
    let mut out = String::new();
    for (number, (segment, line)) in lines(segments).enumerate() {
        // The format has no escapes.
        let text = line.replace("-->", "→");
        let (start, end) = times(segment, ',');
        let blank = if number == 0 { "" } else { "\n" };
        let _ = write!(out, "{blank}{}\n{start} --> {end}\n{text}\n", number + 1);
    }
    out
}

/// Start and end. Players refuse a cue that ends before it begins or at the same time.
fn times(segment: &TranscriptSegment, point: char) -> (String, String) {
    let end = segment.end_ms.max(segment.start_ms.saturating_add(1));
    (time(segment.start_ms, point), time(end, point))
}

/// `00:00:51.100`
fn time(ms: u64, point: char) -> String {
    let (seconds, rest) = (ms / 1000, ms % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{point}{rest:03}", seconds % 60)
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|character| !character.is_control()).collect()
}

/// The segments that have words, each with its line, in the order of time: that of an engine may be another one, and players want this one.
fn lines(segments: &[TranscriptSegment]) -> impl Iterator<Item = (&TranscriptSegment, String)> {
    let mut ordered: Vec<&TranscriptSegment> = segments.iter().collect();
    ordered.sort_by_key(|segment| segment.start_ms);
    ordered.into_iter().map(|segment| (segment, one_line(&segment.text))).filter(|(_, line)| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start_ms: u64, end_ms: u64, text: &str) -> TranscriptSegment {
        let (words, text) = (Vec::new(), text.to_owned());
        TranscriptSegment { start_ms, end_ms, text, words, provider: None, model: None, flag: None }
    }

    #[test]
    fn cues_have_times_and_numbers() {
        let segments = [segment(300, 4_020, "One."), segment(0, 0, ""), segment(3_725_004, 3_726_000, "Two.")];
        assert_eq!(
            webvtt(&segments),
            "WEBVTT\n\n00:00:00.300 --> 00:00:04.020\nOne.\n\n01:02:05.004 --> 01:02:06.000\nTwo.\n"
        );
        assert_eq!(
            subrip(&segments),
            "1\n00:00:00,300 --> 00:00:04,020\nOne.\n\n2\n01:02:05,004 --> 01:02:06,000\nTwo.\n"
        );
        assert_eq!(subrip(&[]), "");
        assert_eq!(webvtt(&[]), "WEBVTT\n");
    }

    #[test]
    fn cues_are_in_the_order_of_time() {
        let segments = [segment(9_000, 12_000, "Three."), segment(0, 4_000, "One."), segment(0, 5_000, "Two.")];
        let texts: Vec<String> =
            subrip(&segments).lines().filter(|line| line.ends_with('.')).map(str::to_owned).collect();
        assert_eq!(texts, ["One.", "Two.", "Three."]);
    }

    #[test]
    fn a_text_cannot_end_its_cue() {
        let segments = [segment(5, 5, "a <i>\n\n2\n00:00:00.000 --> 00:00:01.000\nb & c")];
        let written = webvtt(&segments);
        assert!(
            written
                .ends_with("00:00:00.005 --> 00:00:00.006\na &lt;i&gt; 2 00:00:00.000 --&gt; 00:00:01.000 b &amp; c\n"),
            "{written}"
        );
        assert_eq!(subrip(&segments).matches("-->").count(), 1);
        assert_eq!(subrip(&segments).lines().count(), 3);
        // A cue without a line would end the file for some players.
        let empty = [segment(0, 9, " \u{0} \n"), segment(9, 12, "\u{1b}[2JOne.")];
        assert_eq!(subrip(&empty), "1\n00:00:00,009 --> 00:00:00,012\n[2JOne.\n");
    }
}
