//! The bodies of the fuzz targets `provider_answers` and `provider_file`. `scripts/fuzz` runs them on generated inputs; the tests below run
//! them on the inputs in `fuzz/corpus`. They are compiled for these two only.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::file::ProviderFile;
use super::openai::{audio_answer, chat_answer};
use super::pieces::{cut, pieces, tokens};
use super::{classify, text_gate};
use crate::speech::gate;

/// A key that no message may have.
const KEY: &str = "sk-fuzz-0123456789";
const WINDOW: Duration = Duration::from_secs(11);
/// Longest message, in characters.
const MAX_MESSAGE: usize = 400;
/// Tokens of a piece.
const PIECE: u64 = 64;

/// Any answer of a server: the first byte says to what. Nothing panics; times of a text are in its window; messages are short, on one line, and
/// without the key; pieces of a text lose nothing.
pub fn provider_answers(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    match first % 3 {
        0 => audio(body),
        1 => text(body),
        _ => refusal(body),
    }
}

fn audio(body: &[u8]) {
    match audio_answer::read(body, WINDOW) {
        Ok(answer) => {
            // Any text may be judged.
            let _ = gate::fault(&answer.heard, WINDOW);
            for segment in answer.heard.clamped(WINDOW).segments {
                assert!(segment.start <= segment.end && segment.end <= WINDOW);
                assert!(segment.words.iter().all(|word| word.start <= word.end && word.end <= WINDOW));
            }
        }
        Err(failure) => check(&failure.text),
    }
}

fn text(body: &[u8]) {
    let Ok(answer) = chat_answer::read(body) else { return };
    assert!(!answer.content.trim().is_empty());
    if let Some(object) = chat_answer::object(&answer.content) {
        assert!(object.is_object());
    }
    let fitted = text_gate::fitted(&answer.content);
    assert!(!fitted.chars().any(char::is_control));
    let _ = text_gate::description_fault(&fitted, Some("en"));
    let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).count();
    let cut_up = pieces([answer.content.as_str()], PIECE);
    assert_eq!(cut_up.iter().map(|piece| letters(piece)).sum::<usize>(), letters(&answer.content));
    assert!(tokens(cut(&answer.content, PIECE).0) <= PIECE);
}

fn refusal(body: &[u8]) {
    let (status, body) = body.split_at(body.len().min(2));
    let number = status.iter().fold(0_u16, |number, byte| number * 10 + u16::from(byte % 10));
    let Ok(status) = StatusCode::from_u16(300 + number % 300) else { return };
    let mut headers = HeaderMap::new();
    let pause = body.get(..8).and_then(|pause| HeaderValue::from_bytes(pause).ok());
    headers.extend(pause.map(|pause| (RETRY_AFTER, pause)));
    let body = format!("{}{KEY}", String::from_utf8_lossy(body));
    let failure = classify::refusal(status, &headers, &body, Some(KEY));
    check(&failure.text);
    assert!(!failure.text.contains(KEY), "{}", failure.text);
}

fn check(message: &str) {
    assert!(message.chars().count() <= MAX_MESSAGE && !message.chars().any(char::is_control), "{message:?}");
}

/// Any file of providers: it is read, or all its mistakes are said, each on a line of its own. Names are unique.
pub fn provider_file(data: &[u8]) {
    let Ok(document) = std::str::from_utf8(data) else { return };
    // Only the fixed files of tests may be opened.
    if document.contains("api_key_file") {
        return;
    }
    match ProviderFile::parse(document) {
        Ok(file) => {
            let names: BTreeSet<&str> = file.entries().map(|entry| &*entry.name).collect();
            assert_eq!(names.len(), file.entries().count());
            assert!(!file.transcribe.is_empty() && !file.describe.is_empty());
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            assert!(mistakes.iter().all(|mistake| !mistake.contains('\n')), "{mistakes:?}");
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
#[expect(clippy::print_stdout, reason = "the output of a failed test ends with the name of its input")]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn any_answer_of_a_server_is_read() {
        replay("provider_answers", super::provider_answers);
    }

    #[test]
    fn any_file_of_providers_is_read() {
        replay("provider_file", super::provider_file);
    }
}
