//! What servers answer about text, and the JSON object in it.

use serde_json::Value;

use crate::providers::classify;
use crate::providers::http::{Billed, CallFailure};

/// More tokens than one call has. A larger number is not believed: it would use up the budget of a book.
const MAX_TOKENS: u64 = 10_000_000;

/// What a server says.
#[derive(Debug, PartialEq)]
pub(in crate::providers) struct ChatAnswer {
    /// The model's text.
    pub content: String,
    /// Tokens of the request, where the server counts them.
    pub tokens_in: Option<u64>,
    /// Tokens of the answer, where the server counts them.
    pub tokens_out: Option<u64>,
}

/// Reads the body of a success.
///
/// # Errors
/// When it has no text.
pub(in crate::providers) fn read(body: &[u8]) -> Result<ChatAnswer, CallFailure> {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Err(classify::unusable(body, "no text")) };
    let said = ["/choices/0/message/content", "/choices/0/text", "/message/content"];
    let content = said.iter().find_map(|place| text_of(answer.pointer(place)?)).unwrap_or_default();
    if content.trim().is_empty() {
        if let Some(refusal) = answer.pointer("/choices/0/message/refusal").and_then(Value::as_str) {
            let text =
                format!("the model refuses: {}", platform::one_line(&refusal).chars().take(200).collect::<String>());
            return Err(CallFailure { billed: Billed::Yes, ..CallFailure::input_refused(text) });
        }
        return Err(classify::unusable(body, "no text"));
    }
    let count = |places: [&str; 2]| {
        let counts = places.iter().find_map(|place| answer.pointer(place)?.as_u64());
        counts.filter(|tokens| *tokens <= MAX_TOKENS)
    };
    let tokens_in = count(["/usage/prompt_tokens", "/usage/input_tokens"]);
    let tokens_out = count(["/usage/completion_tokens", "/usage/output_tokens"]);
    Ok(ChatAnswer { content, tokens_in, tokens_out })
}

/// A text, or the texts of a list of parts.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            (!texts.is_empty()).then(|| texts.concat())
        }
        _ => None,
    }
}

/// The object in a model's text: alone, in a block of code, after its thoughts, or between other words.
pub(in crate::providers) fn object(content: &str) -> Option<Value> {
    let said = after_thoughts(content);
    let begin = said.find('{')?;
    let mut values = serde_json::Deserializer::from_str(&said[begin..]).into_iter::<Value>();
    values.next()?.ok().filter(Value::is_object)
}

/// The text without the thoughts of a model that shows them.
pub(in crate::providers) fn after_thoughts(content: &str) -> &str {
    content.rsplit_once("</think>").map_or(content, |(_, said)| said).trim()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_and_the_tokens_are_read() {
        let body = json!({"choices": [{"message": {"role": "assistant", "content": "{\"a\": 1}"}}], "usage": {"prompt_tokens": 366, "completion_tokens": 160}});
        let answer = read(body.to_string().as_bytes()).unwrap();
        let expected = ChatAnswer { content: "{\"a\": 1}".to_owned(), tokens_in: Some(366), tokens_out: Some(160) };
        assert_eq!(answer, expected);
        let mad = json!({"choices": [{"text": "a"}], "usage": {"prompt_tokens": u64::MAX, "completion_tokens": -1}});
        let mad = read(mad.to_string().as_bytes()).unwrap();
        assert_eq!((mad.tokens_in, mad.tokens_out), (None, None));
        let parts = json!({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}]});
        assert_eq!(read(parts.to_string().as_bytes()).unwrap().content, "ab");
    }

    #[test]
    fn a_refusal_is_not_a_failure_of_the_server() {
        let body = json!({"choices": [{"message": {"content": null, "refusal": "I cannot help with that."}}]});
        let failure = read(body.to_string().as_bytes()).unwrap_err();
        assert!(matches!(failure.end, media::CallEnd::InputRefused) && failure.billed == Billed::Yes, "{failure:?}");
        for body in ["", "{}", "<html>", r#"{"choices": []}"#, r#"{"choices": [{"message": {"content": " "}}]}"#] {
            assert!(matches!(read(body.as_bytes()).unwrap_err().end, media::CallEnd::Failed { .. }), "{body}");
        }
    }

    #[test]
    fn the_object_is_found_between_other_words() {
        for content in [
            r#"{"a": 1}"#,
            "```json\n{\"a\": 1}\n```",
            "Here you are: {\"a\": 1} I hope it helps {",
            "<think>maybe {\"a\": 2}?</think>\n{\"a\": 1}",
        ] {
            assert_eq!(object(content), Some(json!({"a": 1})), "{content}");
        }
        for content in ["", "no object", "{\"a\": ", "[1]", "{not json}"] {
            assert_eq!(object(content), None, "{content}");
        }
    }
}
