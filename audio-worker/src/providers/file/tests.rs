//! What the operator's file may say, and what is said about its mistakes.

use std::io::Write as _;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::*;

/// A key that must be in no message.
const KEY: &str = "sk-very-secret-0123456789";

fn key_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A file with this one provider of audio beside an extract.
fn with(provider: &str) -> String {
    format!("transcribe:\n  - {provider}\ndescribe:\n  - {{name: extract, group: local, kind: extract}}\n")
}

fn mistakes(text: &str) -> Vec<String> {
    ProviderFile::parse(text).err().unwrap_or_default()
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let key = key_file(&format!("{KEY}\n"));
    let text = format!(
        "budget: {{per_book: {{micro: 5000000, currency: USD}}}}\n\
         transcribe:\n\
         \x20 - {{name: here, group: local, kind: whisper, model: whisper-tiny.en}}\n\
         \x20 - {{name: speaches, group: local, kind: openai, base_url: \"http://gpu:8000/v1\", model: small, \
         timeout: {{base: 30s, per_audio_second: 1s}}, max_bytes: 25MiB, concurrency: 4}}\n\
         \x20 - {{name: groq, group: cloud, kind: openai, base_url: \"https://api.example/v1/\", model: large, \
         api_key_file: {}, price: {{per_audio_minute: {{micro: 700, currency: USD}}}}}}\n\
         describe:\n\
         \x20 - {{name: ollama, group: local, kind: openai, base_url: \"http://127.0.0.1:11434/v1\", model: \"llama3.1:8b\", context_tokens: 8192}}\n\
         \x20 - {{name: extract, group: local, kind: extract}}\n",
        key.path().display()
    );
    let file = ProviderFile::parse(&text).unwrap();
    assert_eq!(file.groups().into_iter().collect::<Vec<_>>(), ["cloud", "local"]);
    assert_eq!(file.caps.as_ref().map(|caps| (caps.book_micro, caps.day_micro)), Some((Some(5_000_000), None)));
    let Kind::OpenAi(groq) = &file.transcribe[2].kind else { panic!("{file:?}") };
    assert_eq!(groq.endpoint("audio/transcriptions"), "https://api.example/v1/audio/transcriptions");
    assert_eq!(groq.price.as_ref().map(|price| price.per_audio_minute), Some(700));
    let Kind::OpenAi(speaches) = &file.transcribe[1].kind else { panic!("{file:?}") };
    assert_eq!((speaches.concurrency, speaches.max_bytes), (4, 25 << 20));
    assert_eq!(speaches.timeout.of(Duration::from_secs(60)), Duration::from_secs(90));
    assert!(!format!("{file:?}").contains(KEY));
}

#[test]
fn without_a_file_this_process_does_both() {
    let file = ProviderArgs::default().load().unwrap();
    assert!(file.uses_whisper());
    assert_eq!(file.entries().map(|entry| &*entry.name).collect::<Vec<_>>(), ["here", "extract"]);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let text = "transcribe:\n\
        \x20 - {name: A b, group: local, kind: whisper, model: 3}\n\
        \x20 - {name: far, group: cloud, kind: openai, base_url: \"ftp://host\", timeout: {base: 30}, max_bytes: 1, concurrency: 0}\n\
        \x20 - {name: x, kind: aws, anything: 1}\n\
        describe:\n\
        \x20 - {name: x, group: local, kind: extract, model: none}\n\
        \x20 - just a text\n\
        other: 1\n";
    let found = mistakes(text);
    for expected in [
        "transcribe[0].name: it must be 1 to 32 characters",
        "transcribe[0].model: it must be a text",
        "transcribe[1] (far).base_url: it must be the address",
        "transcribe[1] (far).model: it is missing",
        "transcribe[1] (far).timeout.base: it must be a duration",
        "transcribe[1] (far).max_bytes: it must be",
        "transcribe[1] (far).concurrency: it must be a whole number from 1 to 64",
        "transcribe[2] (x).group: it is missing",
        "transcribe[2] (x).kind: there is no kind aws",
        "describe[0] (x).model: there is no such field here",
        "describe[1]: it must be a map",
        "other: there is no such field here",
    ] {
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{expected} is not in {found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn a_misplaced_key_is_in_no_message() {
    for provider in [
        format!("{{name: x, group: local, kind: openai, base_url: \"http://a/v1\", model: m, api_key: {KEY}}}"),
        format!("{{name: x, group: local, kind: openai, base_url: \"http://a/v1\", model: m, api_key:{KEY}}}"),
        format!("{{name: {KEY}.A, group: local, kind: openai, base_url: \"http://user:{KEY}@a/v1\", model: m}}"),
        format!("{{name: x, group: local, kind: {KEY}, model: [{KEY}]}}"),
        format!("{{name: x, group: local, kind: openai, base_url: \"http://a:{KEY}\", model: m, timeout: {KEY}}}"),
        format!("{{name: x, name: {KEY}, api_key: {KEY}"),
    ] {
        let found = mistakes(&with(&provider));
        assert!(!found.is_empty(), "{provider}");
        assert!(!found.join("\n").contains(KEY), "{found:#?}");
    }
}

#[test]
fn the_file_of_a_key_must_hold_one_that_can_be_sent() {
    for (text, says) in [("", "is empty"), ("two words", "another character"), ("kéy", "another character")] {
        let file = key_file(text);
        let path = file.path().display();
        let provider = format!(
            "{{name: x, group: g, kind: openai, base_url: \"http://a/v1\", model: m, api_key_file: \"{path}\"}}"
        );
        let found = mistakes(&with(&provider));
        assert!(found.len() == 1 && found[0].contains(says) && found[0].contains("(x).api_key_file"), "{found:#?}");
    }
    let absent = "{name: x, group: g, kind: openai, base_url: \"http://a/v1\", model: m, api_key_file: /no/such/key}";
    assert!(mistakes(&with(absent))[0].contains("/no/such/key cannot be read"));
}

#[test]
fn names_are_unique_and_money_has_one_currency() {
    let text = "budget: {per_day: {micro: 1, currency: EUR}}\n\
        transcribe:\n\
        \x20 - {name: a, group: g, kind: openai, base_url: \"http://a/v1\", model: m, price: {per_audio_minute: {micro: 1, currency: USD}}}\n\
        describe:\n\
        \x20 - {name: a, group: g, kind: extract}\n";
    let found = mistakes(text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("a: two providers have this name"), "{found:#?}");
    assert!(found[1].contains("EUR (budget), USD (a)"), "{found:#?}");
}

#[test]
fn what_is_not_a_list_of_providers_is_refused() {
    for text in ["", "[]", "transcribe: here", "transcribe: []\ndescribe: []", "a: b: c", "transcribe:\n\t- x"] {
        assert!(!mistakes(text).is_empty(), "{text:?}");
    }
    let many = "  - {name: a, group: g, kind: extract}\n".repeat(MAX_PROVIDERS + 1);
    let text = format!("transcribe:\n  - {{name: here, group: g, kind: whisper, model: m}}\ndescribe:\n{many}");
    assert!(mistakes(&text)[0].starts_with("describe: it must be a list of at most 32"));
}
