//! What real servers answer, and what it means.

use super::*;

fn answered(status: u16, body: &str) -> CallFailure {
    refusal(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body, Some("sk-secret"))
}

fn asking(status: u16, retry_after: &str) -> CallFailure {
    let headers = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, retry_after.parse().unwrap())]);
    refusal(StatusCode::from_u16(status).unwrap(), &headers, "", None)
}

#[test]
fn a_server_that_asks_to_come_later_is_obeyed() {
    for (status, text, seconds) in [(429, "5", 5), (503, "7", 7), (429, "9999999", 86_400)] {
        let failure = asking(status, text);
        let CallEnd::RateLimited { retry_after: Some(pause) } = failure.end else { panic!("{failure:?}") };
        assert_eq!(pause.as_secs(), seconds, "{status} {text}");
    }
    assert!(matches!(answered(429, "").end, CallEnd::RateLimited { retry_after: None }));
    assert!(matches!(asking(429, "soon").end, CallEnd::RateLimited { retry_after: None }));
    assert!(matches!(answered(503, "").end, CallEnd::Failed { .. }));
}

#[test]
fn an_account_without_money_is_not_asked_again_at_once() {
    let quota = r#"{"error":{"message":"You exceeded your current quota, please check your plan","code":"insufficient_quota"}}"#;
    for (status, body) in [
        (402, ""),
        (402, "Payment Required"),
        (429, quota),
        (400, r#"{"error":{"message":"You have reached your specified API usage limits."}}"#),
        (400, r#"{"error":{"message":"Your credit balance is too low"}}"#),
        (403, r#"{"error":{"code":"billing_not_active","message":"x"}}"#),
    ] {
        let failure = answered(status, body);
        assert!(matches!(failure.end, CallEnd::OutOfQuota), "{status} {body}: {failure:?}");
        assert_eq!(failure.billed, Billed::No);
    }
}

#[test]
fn a_refused_key_switches_off_and_is_not_shown() {
    for status in [401, 403] {
        let failure = answered(status, r#"{"error":{"message":"Incorrect API key provided: sk-secret"}}"#);
        assert!(matches!(failure.end, CallEnd::Unauthorised), "{failure:?}");
        assert!(!failure.text.contains("sk-"), "{failure:?}");
    }
    let echo = answered(500, "GET / authorization: Bearer sk-secret");
    assert!(echo.text.contains("***") && !echo.text.contains("sk-secret"), "{echo:?}");
}

#[test]
fn an_input_that_is_refused_cools_nobody() {
    for status in [400, 413, 415, 422] {
        let failure = answered(status, r#"{"detail":[{"loc":["body"],"msg":"audio too long"}]}"#);
        assert!(matches!(failure.end, CallEnd::InputRefused), "{failure:?}");
        assert_eq!(failure.text, format!("it answered {status}: audio too long"));
        assert_eq!(failure.objection, None);
    }
}

#[test]
fn everything_else_is_a_failure_in_words() {
    for (status, body, says) in [
        (500, "<!DOCTYPE html><html>secret page</html>", "an HTML page"),
        (502, r#"{"error":"upstream\ndied"}"#, "upstream died"),
        (404, r#"{"error":{"message":"model not found"}}"#, "model not found; check base_url and model"),
        (301, "", "a redirect"),
        (408, "", "it answered 408"),
        (418, &"x".repeat(5000), "it answered 418: xxx"),
    ] {
        let failure = answered(status, body);
        assert!(matches!(failure.end, CallEnd::Failed { .. }), "{failure:?}");
        assert!(failure.text.contains(says) && failure.text.chars().count() < 400, "{failure:?}");
    }
}

#[test]
fn what_a_server_does_not_know_is_named() {
    for (status, body, expected) in [
        (400, "response_format 'verbose_json' is not compatible with model", Objection::Field(Field::Format)),
        (422, "timestamp_granularities[] is not supported", Objection::Field(Field::Granularities)),
        (400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'", Objection::Field(Field::MaxTokens)),
        (400, "'temperature' does not support 0.2 with this model", Objection::Field(Field::Temperature)),
        (500, "failed to parse grammar", Objection::Field(Field::Format)),
        (400, "This model's maximum context length is 8192 tokens; reduce max_tokens", Objection::TooLong),
        (400, r#"{"error":{"type":"exceed_context_size_error","message":"x"}}"#, Objection::TooLong),
    ] {
        assert_eq!(answered(status, body).objection, Some(expected), "{body}");
    }
    assert_eq!(answered(502, "temperature").objection, None);
}

#[test]
fn a_success_of_no_use_says_what_it_is() {
    for (body, says) in [
        ("", "its answer is empty"),
        ("<html><body>Sign in</body></html>", "its answer is an HTML page; check base_url"),
        (r#"{"text": "half of"#, "its answer is half a JSON document"),
        ("OK", "its answer is not JSON"),
        (r#"{"result": "hello"}"#, "its answer has no text"),
        (r#"{"error": {"message": "no GPU"}}"#, "its answer has no text: no GPU"),
    ] {
        let failure = unusable(body.as_bytes(), "no text");
        assert_eq!(failure.text, says);
        assert!(matches!(failure.end, CallEnd::Failed { .. }) && failure.billed == Billed::Yes);
    }
}

#[test]
fn the_words_of_a_book_that_a_server_shows_are_not_its_own() {
    let request = r#"{"messages": [{"content": "Her credit balance, the temperature and the usage limit"}]}"#;
    let body = format!(r#"{{"error": {{"message": "a field is missing", "type": "BadRequest"}}, "input": {request}}}"#);
    let failure = answered(400, &body);
    assert!(matches!(failure.end, CallEnd::InputRefused) && failure.objection.is_none(), "{failure:?}");
    let listed = |field: &str| {
        let fault = format!(r#"{{"loc": ["body", "{field}"], "msg": "not permitted", "input": {request}}}"#);
        answered(422, &format!(r#"{{"detail": [{fault}]}}"#)).objection
    };
    assert_eq!(listed("model"), None);
    assert_eq!(listed("timestamp_granularities[]"), Some(Objection::Field(Field::Granularities)));
    let unknown = r#"{"status": {"reason": "insufficient_quota"}}"#;
    assert!(matches!(answered(429, unknown).end, CallEnd::OutOfQuota), "a form that is not known");
}
