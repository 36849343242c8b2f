//! `POST /audio/transcriptions`: one window of speech as a form.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Body;
use reqwest::multipart::{Form, Part};

use super::LeftOut;
use super::audio_answer::{self, AudioAnswer};
use crate::providers::classify::Field;
use crate::providers::file::OpenAi;
use crate::providers::http::{CallFailure, ProviderClient};

/// The route below the server's address.
pub(in crate::providers) const ROUTE: &str = "audio/transcriptions";
/// Largest answer, in bytes: a minute with the time of each word has some 50 KiB.
const MAX_ANSWER: usize = 4 << 20;
/// Fields of the form beside the file, with their heads, in bytes.
const FORM: u64 = 4 << 10;

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(in crate::providers) struct AudioRequest {
    /// The window as a WAV file.
    pub file: Bytes,
    /// Its length.
    pub length: Duration,
    /// The language, as a code, if it is known.
    pub language: Option<String>,
    /// The temperature.
    pub temperature: f32,
}

/// Whether a file of so many bytes may be sent to the server.
pub(in crate::providers) fn fits(server: &OpenAi, file: u64) -> bool {
    file.saturating_add(FORM) <= server.max_bytes
}

/// Calls the server.
///
/// # Errors
/// When there is no text.
pub(in crate::providers) async fn transcribe(
    client: &ProviderClient,
    server: &OpenAi,
    left_out: &LeftOut,
    request: &AudioRequest,
) -> Result<(AudioAnswer, Option<String>), CallFailure> {
    let (bytes, most) = (request.file.len() as u64, server.max_bytes);
    if !fits(server, bytes) {
        let text = format!("the window has {bytes} bytes, and max_bytes of this provider is {most}");
        return Err(CallFailure::input_refused(text));
    }
    let call = client.post(&server.endpoint(ROUTE)).multipart(form(server, left_out, request));
    let limit = server.timeout.of(request.length);
    let answer = client.call(call, server.api_key_file.as_ref(), limit, MAX_ANSWER).await?;
    match audio_answer::read(&answer.body, request.length) {
        Ok(read) => Ok((read, answer.request_id)),
        Err(failure) => Err(CallFailure { request_id: answer.request_id, ..failure }),
    }
}

/// The fields that can be left out of this request.
pub(in crate::providers) fn optional(left_out: &LeftOut) -> Vec<Field> {
    let fields = [Field::Granularities, Field::Format, Field::Temperature];
    fields.into_iter().filter(|field| !left_out.has(*field)).collect()
}

fn form(server: &OpenAi, left_out: &LeftOut, request: &AudioRequest) -> Form {
    let length = request.file.len() as u64;
    let file = Part::stream_with_length(Body::from(request.file.clone()), length).file_name("window.wav");
    // The name is a valid media type.
    let file =
        file.mime_str("audio/wav").unwrap_or_else(|_| Part::bytes(request.file.to_vec()).file_name("window.wav"));
    // The names of fields are sent as they are: not every server decodes them.
    let mut form = Form::new().percent_encode_noop().part("file", file).text("model", server.model.clone());
    if let Some(language) = &request.language {
        form = form.text("language", language.clone());
    }
    if !left_out.has(Field::Temperature) {
        form = form.text("temperature", request.temperature.to_string());
    }
    let verbose = !left_out.has(Field::Format);
    form = form.text("response_format", if verbose { "verbose_json" } else { "json" });
    if verbose && !left_out.has(Field::Granularities) {
        form = form.text("timestamp_granularities[]", "segment").text("timestamp_granularities[]", "word");
    }
    form
}
