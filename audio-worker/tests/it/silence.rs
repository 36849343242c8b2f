//! What is not said is not written.

use crate::models::setup;
use crate::sounds::{music, noise, silence, tones, wav};
use crate::words::{JFK, word_errors, words};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_between_two_sentences() {
    let Some(setup) = setup("nothing_is_written_between_two_sentences") else { return };
    let jfk = setup.jfk();
    let sound = [jfk.clone(), silence(40), jfk].concat();
    let transcript = setup.transcribe(&setup.write("pause.wav", &wav(&sound))).await.unwrap();
    let (before, after): (Vec<_>, Vec<_>) = transcript.segments.iter().partition(|segment| segment.end_ms <= 12_000);
    let text = |segments: &[&contracts::TranscriptSegment]| {
        segments.iter().map(|segment| &*segment.text).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(word_errors(JFK, &text(&before)), 0, "{before:?}");
    assert_eq!(word_errors(JFK, &text(&after)), 0, "{after:?}");
    let second = after.first().unwrap().start_ms;
    assert!((50_500..=51_500).contains(&second), "the second sentence begins at {second} ms");
    assert!(transcript.segments.last().unwrap().end_ms <= 62_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_noise_tones_and_music_have_no_words() {
    let Some(setup) = setup("silence_noise_tones_and_music_have_no_words") else { return };
    let sounds = [
        ("silence", silence(30)),
        ("soft noise", noise(30, 0.02)),
        ("loud noise", noise(30, 0.5)),
        ("a tone", tones(30, &[440.0])),
        ("music", music(30)),
        ("a tenth of a second", silence(1)[..1_600].to_vec()),
    ];
    for (name, sound) in sounds {
        let transcript = setup.transcribe(&setup.write("sound.wav", &wav(&sound))).await.unwrap();
        assert!(words(&transcript.text()).is_empty(), "{name}: {}", transcript.text());
    }
}
