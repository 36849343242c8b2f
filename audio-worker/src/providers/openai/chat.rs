//! `POST /chat/completions`: one question with an answer as a JSON object.

use serde_json::{Value, json};

use super::LeftOut;
use super::chat_answer::{self, ChatAnswer};
use crate::providers::classify::Field;
use crate::providers::file::OpenAi;
use crate::providers::http::{CallFailure, ProviderClient};

/// The route below the server's address.
const ROUTE: &str = "chat/completions";
/// Largest answer, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(in crate::providers) struct ChatRequest {
    /// What the model is to do.
    pub system: String,
    /// The text that it works on.
    pub user: String,
    /// The form of the answer: a JSON schema of an object.
    pub schema: Value,
    /// The temperature.
    pub temperature: f32,
    /// Most tokens of the answer.
    pub max_tokens: u64,
    /// Whether the form is told in words only.
    pub is_plain: bool,
}

/// Calls the server.
///
/// # Errors
/// When there is no text.
pub(in crate::providers) async fn ask(
    client: &ProviderClient,
    server: &OpenAi,
    left_out: &LeftOut,
    request: &ChatRequest,
) -> Result<(ChatAnswer, Option<String>), CallFailure> {
    let call = client.post(&server.endpoint(ROUTE)).json(&body(server, left_out, request));
    let answer = client.call(call, server.api_key_file.as_ref(), server.timeout.base, MAX_ANSWER).await?;
    match chat_answer::read(&answer.body) {
        Ok(read) => Ok((read, answer.request_id)),
        Err(failure) => Err(CallFailure { request_id: answer.request_id, ..failure }),
    }
}

/// The fields that can be left out of this request.
pub(in crate::providers) fn optional(left_out: &LeftOut) -> Vec<Field> {
    let fields = [Field::Format, Field::MaxTokens, Field::Temperature];
    fields.into_iter().filter(|field| !left_out.has(*field)).collect()
}

fn body(server: &OpenAi, left_out: &LeftOut, request: &ChatRequest) -> Value {
    let with_format = !request.is_plain && !left_out.has(Field::Format);
    // A server that does not know schemas is told the form in words.
    let system = if with_format {
        request.system.clone()
    } else {
        format!("{}\nAnswer with one JSON object of this schema and nothing else: {}", request.system, request.schema)
    };
    let mut body = json!({
        "model": server.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": request.user}],
        "stream": false,
    });
    if with_format {
        let schema = json!({"name": "answer", "strict": true, "schema": request.schema});
        body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
    }
    let limit = if left_out.has(Field::MaxTokens) { "max_completion_tokens" } else { "max_tokens" };
    body[limit] = request.max_tokens.into();
    if !left_out.has(Field::Temperature) {
        // As it is written: the number of 32 bits has other digits as one of 64.
        body["temperature"] = json!((f64::from(request.temperature) * 100.0).round() / 100.0);
    }
    body
}
