//! The form of a request: `file`, and how it is transcribed. Fields with another name are read and have no effect, because clients send
//! what other servers understand.

use api_kit::form_data::{FormData, FormField, is_multipart};
use api_kit::upload::{BodyLimits, BytesInFlight, Reservation};
use axum::extract::Request;
use contracts::TranscriptFormat;
use http::header::CONTENT_TYPE;

use super::error::OpenAiError;
use super::spool::{Spool, Spooled};
use crate::speech::engine::SpeechOptions;

/// Bytes of a field that is not the file.
const MAX_FIELD: usize = 8 << 10;
/// Fields of a form.
const MAX_FIELDS: usize = 64;
/// The name of `OpenAI`'s model, which many clients send without being asked: it leaves the choice to the server.
const ANY_MODEL: &str = "whisper-1";

/// What is asked for.
pub(super) struct Form {
    /// The audio file.
    pub file: Spooled,
    /// How it is transcribed.
    pub options: SpeechOptions,
    /// The form of the answer.
    pub format: Format,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// The bytes of the file, which count until this is dropped.
    pub reservation: Reservation,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `{"text": …}`
    Json,
    /// With segments, and their times and measures.
    Verbose {
        /// Whether it has the time of each word.
        words: bool,
        /// Whether it has segments.
        segments: bool,
    },
    /// Text or subtitles.
    Plain(TranscriptFormat),
}

/// The fields as they were sent.
#[derive(Debug, Default)]
struct Fields {
    model: Option<String>,
    language: Option<String>,
    response_format: Option<String>,
    granularities: Vec<String>,
    stream: Option<String>,
    temperature: Option<String>,
}

/// Reads the form of a request. The file goes to a temporary file.
pub(super) async fn read(
    request: Request,
    limits: BodyLimits,
    bytes_in_flight: &BytesInFlight,
) -> Result<Form, OpenAiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.to_owned();
    if !is_multipart(&content_type) {
        return Err(OpenAiError::field("file", "send a form (multipart/form-data) with the fields file and model"));
    }
    let mut form = FormData::begin(&content_type, request, limits, bytes_in_flight)?;
    let (mut fields, mut file, mut count) = (Fields::default(), None, 0);
    while let Some(mut field) = form.next_field().await? {
        count += 1;
        if count > MAX_FIELDS {
            return Err(OpenAiError::field("file", format!("the form has more than {MAX_FIELDS} fields")));
        }
        match field.name().unwrap_or_default().to_owned().as_str() {
            "file" => file = Some(spool(&mut field).await?),
            name => fields.set(name, text(&mut field).await?),
        }
    }
    let file = file.ok_or_else(|| OpenAiError::field("file", "the form has no file: send it as the field file"))?;
    if file.bytes() == 0 {
        return Err(OpenAiError::field("file", "the file is empty"));
    }
    let (format, stream) = (fields.format()?, fields.stream()?);
    let options = fields.options(format)?;
    Ok(Form { file, options, format, stream, reservation: form.finish()? })
}

async fn spool(field: &mut FormField) -> Result<Spooled, OpenAiError> {
    let failed = |error: std::io::Error| OpenAiError::internal(&format!("a temporary file: {error}"));
    let mut spool = Spool::begin().await.map_err(failed)?;
    while let Some(chunk) = field.chunk().await? {
        spool.push(&chunk).await.map_err(failed)?;
    }
    spool.finish().await.map_err(failed)
}

/// The text of a field; what is too long is cut, so that it is refused as a value.
async fn text(field: &mut FormField) -> Result<String, OpenAiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await? {
        let room = MAX_FIELD.saturating_sub(bytes.len());
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

impl Fields {
    fn set(&mut self, name: &str, value: String) {
        let field = match name {
            "model" => &mut self.model,
            "language" => &mut self.language,
            "response_format" => &mut self.response_format,
            "stream" => &mut self.stream,
            "temperature" => &mut self.temperature,
            // The first one is how most clients send a list.
            "timestamp_granularities[]" | "timestamp_granularities" => {
                return self.granularities.extend(value.split(',').map(|part| part.trim().to_owned()));
            }
            _ => return,
        };
        *field = Some(value).filter(|value| !value.is_empty());
    }

    fn format(&self) -> Result<Format, OpenAiError> {
        let known = "json, text, srt, vtt or verbose_json";
        Ok(match self.response_format.as_deref().unwrap_or("json") {
            "json" => Format::Json,
            "text" => Format::Plain(TranscriptFormat::Txt),
            "srt" => Format::Plain(TranscriptFormat::Srt),
            "vtt" => Format::Plain(TranscriptFormat::Vtt),
            "verbose_json" => self.verbose()?,
            _ => return Err(OpenAiError::field("response_format", format!("response_format must be {known}"))),
        })
    }

    fn verbose(&self) -> Result<Format, OpenAiError> {
        let has = |name: &str| self.granularities.iter().any(|granularity| granularity == name);
        if self.granularities.iter().any(|name| !["word", "segment"].contains(&name.as_str())) {
            let message = "timestamp_granularities must be word or segment";
            return Err(OpenAiError::field("timestamp_granularities", message));
        }
        Ok(Format::Verbose { words: has("word"), segments: has("segment") || self.granularities.is_empty() })
    }

    fn stream(&self) -> Result<bool, OpenAiError> {
        match self.stream.as_deref() {
            None | Some("false" | "False" | "0") => Ok(false),
            Some("true" | "True" | "1") => Ok(true),
            Some(_) => Err(OpenAiError::field("stream", "stream must be true or false")),
        }
    }

    fn options(self, format: Format) -> Result<SpeechOptions, OpenAiError> {
        // Checked as others check it. The gate decides when an attempt at a temperature is made.
        let temperature = self.temperature.as_deref().unwrap_or("0").parse::<f32>();
        if !temperature.is_ok_and(|temperature| (0.0..=1.0).contains(&temperature)) {
            return Err(OpenAiError::field("temperature", "temperature must be a number from 0 to 1"));
        }
        Ok(SpeechOptions {
            model: self.model.filter(|model| model != ANY_MODEL),
            language: self.language,
            words: matches!(format, Format::Verbose { words: true, .. }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(sent: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in sent {
            fields.set(name, (*value).to_owned());
        }
        fields
    }

    #[test]
    fn fields_have_the_defaults_of_the_interface() {
        let fields = fields(&[("model", "whisper-1"), ("prompt", "Sussex"), ("chunking_strategy", "auto")]);
        assert_eq!((fields.format().unwrap(), fields.stream().unwrap()), (Format::Json, false));
        assert_eq!(fields.options(Format::Json).unwrap(), SpeechOptions::default());
    }

    #[test]
    fn words_are_found_only_where_they_are_asked_for() {
        let of = |granularities: &[&str]| {
            let mut sent = vec![("response_format", "verbose_json")];
            sent.extend(granularities.iter().map(|name| ("timestamp_granularities[]", *name)));
            fields(&sent).format()
        };
        assert_eq!(of(&[]).unwrap(), Format::Verbose { words: false, segments: true });
        assert_eq!(of(&["word"]).unwrap(), Format::Verbose { words: true, segments: false });
        assert_eq!(of(&["segment", "word"]).unwrap(), Format::Verbose { words: true, segments: true });
        assert!(of(&["letter"]).is_err());
    }

    #[test]
    fn a_value_that_is_not_allowed_is_refused_with_its_field() {
        assert!(fields(&[("response_format", "pdf")]).format().is_err());
        assert!(fields(&[("stream", "perhaps")]).stream().is_err());
        for temperature in ["2", "-0.1", "warm", "NaN"] {
            assert!(fields(&[("temperature", temperature)]).options(Format::Json).is_err(), "{temperature}");
        }
    }
}
