use super::*;

/// Spans of speech in tenths of a second.
fn spans(tenths: &[(u64, u64)]) -> Vec<Range<u64>> {
    tenths.iter().map(|(start, end)| start * RATE / 10..end * RATE / 10).collect()
}

/// The plan of spans in tenths of a second, in tenths of a second; the last span ends the recording.
fn planned(tenths: &[(u64, u64)], loudness: &[f32]) -> Vec<(u64, u64)> {
    let samples = tenths.iter().map(|(_, end)| end * RATE / 10).max().unwrap_or(0);
    let windows = plan(&spans(tenths), loudness, samples);
    windows.into_iter().map(|window| (window.start * 10 / RATE, window.end * 10 / RATE)).collect()
}

#[test]
fn without_speech_there_is_no_window() {
    assert_eq!(plan(&[], &[0.5; 600], 30 * RATE), []);
}

#[test]
fn a_long_silence_is_in_no_window() {
    // JFK, 40 s of silence, JFK again.
    assert_eq!(planned(&[(3, 110), (513, 620)], &[]), [(3, 110), (513, 620)]);
    // A pause of just under two seconds is.
    assert_eq!(planned(&[(0, 100), (119, 200)], &[]), [(0, 200)]);
    assert_eq!(planned(&[(0, 100), (120, 200)], &[]), [(0, 100), (120, 200)]);
}

#[test]
fn short_pieces_share_a_window() {
    let pieces: Vec<(u64, u64)> = (0..20).map(|piece| (piece * 30, piece * 30 + 25)).collect();
    assert_eq!(planned(&pieces, &[]), [(0, 595)]);
}

#[test]
fn a_window_ends_at_the_longest_late_pause() {
    // Pauses at 40, 48, 52 and 58 s; the one at 52 s is the longest of those after 45 s.
    let pieces = [(0, 400), (415, 480), (482, 520), (530, 580), (582, 900)];
    assert_eq!(planned(&pieces, &[]), [(0, 520), (530, 900)]);
    // Without a late one, the last one.
    assert_eq!(planned(&[(0, 200), (210, 300), (302, 700)], &[]), [(0, 300), (302, 700)]);
}

#[test]
fn speech_without_a_pause_is_cut_where_it_is_quietest() {
    // 100 s of speech; the quietest 50 ms begin at 70 s, and quieter ones before 30 s do not count.
    let mut loudness = vec![0.5; 2_000];
    loudness[1_400] = 0.1;
    loudness[100] = 0.0;
    let windows = plan(&spans(&[(0, 1_000)]), &loudness, 100 * RATE);
    let cut = 70 * RATE + BLOCK / 2;
    assert_eq!(windows, [Window { start: 0, end: cut }, Window { start: cut, end: 100 * RATE }]);
    // Nothing is known of the loudness.
    assert_eq!(planned(&[(0, 1_000)], &[]), [(0, 300), (300, 600), (600, 1_000)]);
}

#[test]
fn a_plan_holds_all_speech_and_nothing_twice() {
    let mut random = 7_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for _ in 0..200 {
        let (mut at, mut speech) = (0, Vec::new());
        for _ in 0..next(40) + 1 {
            let start = at + next(3 * RATE) + 1;
            let end = start + next(100 * RATE) + 1;
            speech.push(start..end);
            at = end;
        }
        let loudness: Vec<f32> = (0..at / BLOCK).map(|_| next(1_000) as f32).collect();
        let windows = plan(&speech, &loudness, at);
        for window in &windows {
            assert!(window.start < window.end && window.end - window.start <= LONGEST_SPEECH, "{window:?}");
            assert_eq!((window.start % MILLISECOND, window.end % MILLISECOND), (0, 0));
        }
        assert!(windows.windows(2).all(|pair| pair[0].end <= pair[1].start), "{windows:?}");
        let is_within = |sample: u64| windows.iter().any(|window| (window.start..window.end).contains(&sample));
        for span in &speech {
            for sample in [span.start, span.end - 1, (span.start + span.end) / 2] {
                assert!(is_within(sample), "{sample} of {span:?} in {windows:?}");
            }
        }
        assert_eq!(windows, plan(&speech, &loudness, at));
    }
}

#[test]
fn spans_in_disorder_and_beyond_the_end_are_put_right() {
    let empty = Range { start: 3 * RATE, end: 3 * RATE };
    let speech = [RATE * 5..RATE * 9, 3..RATE, RATE..RATE * 2, RATE * 8..RATE * 50, empty];
    let windows = plan(&speech, &[], 10 * RATE + 1);
    assert_eq!(windows, [Window { start: 0, end: 2 * RATE }, Window { start: 5 * RATE, end: 10 * RATE + MILLISECOND }]);
    assert_eq!((windows[1].start_ms(), windows[1].end_ms()), (5_000, 10_001));
}
