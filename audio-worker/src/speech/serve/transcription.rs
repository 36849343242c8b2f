//! `POST /v1/audio/transcriptions`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use contracts::TranscriptFormat;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use sound::Decoder;

use super::Service;
use super::answer::Answer;
use super::error::OpenAiError;
use super::form::{self, Format};
use super::spool::Spooled;
use super::streamed::{self, Held};
use crate::speech::engine::{CancelOnDrop, Engine, Judged, SpeechOptions};
use crate::speech::file::Tools;
use crate::speech::recording::{self, Plan, Reader, RecordingError, time_of, windows_of};
use crate::speech::vad::Vad;

/// The words of the windows, in their order, each with its start in the recording.
pub(super) type Words = BoxStream<'static, Result<(Duration, Judged), RecordingError>>;

/// A recording whose speech was found.
struct Listened {
    duration: Duration,
    plan: Plan,
    reader: Reader,
}

/// Transcribes a recording. A client that disconnects ends it.
pub(super) async fn create(State(service): State<Service>, request: Request) -> Result<Response, OpenAiError> {
    service.authorise(request.headers())?;
    let place = service.place()?;
    let inner = &service.0;
    let form = form::read(request, inner.body, &inner.bytes_in_flight).await?;
    if form.stream && matches!(form.format, Format::Plain(TranscriptFormat::Srt | TranscriptFormat::Vtt)) {
        return Err(OpenAiError::field(
            "stream",
            "a stream has text: response_format must be json, text or verbose_json",
        ));
    }
    // An unknown model is refused before the work.
    let model = inner.engine.model(&form.options)?.name.clone();
    let Listened { duration, plan, reader } = listen(inner.tools.clone(), form.file.clone()).await?;
    let words = words(&inner.engine, &form.options, &plan, reader);
    if form.stream {
        return Ok(streamed::response(words, duration, Held { _place: place, _bytes: form.reservation }));
    }
    let windows: Vec<(Duration, Judged)> = words.try_collect().await?;
    let answer = Answer { duration, model, language: form.options.language, windows };
    drop((place, form.reservation));
    Ok(answer.response(form.format))
}

/// Finds speech, on a blocking thread that ends when this is dropped.
async fn listen(tools: Tools, file: Spooled) -> Result<Listened, OpenAiError> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let _cancel = CancelOnDrop(Arc::clone(&cancelled));
    let listening = tokio::task::spawn_blocking(move || {
        let sound = recording::probe(file.reader(), file.bytes())?;
        let mut decoder = Decoder::open(file.reader(), file.bytes(), &sound)?;
        let mut vad = Vad::open(&tools.folder, &tools.runtime)?;
        let plan = recording::plan(&mut decoder, &mut vad, |_| !cancelled.load(Ordering::Relaxed))?;
        let reader = Reader::new(Decoder::open(file.reader(), file.bytes(), &sound)?);
        Ok::<_, RecordingError>(Listened { duration: sound.duration, plan, reader })
    });
    let listened = listening.await.map_err(|error| OpenAiError::internal(&error.to_string()))?;
    Ok(listened?)
}

fn words(engine: &Engine, options: &SpeechOptions, plan: &Plan, reader: Reader) -> Words {
    let sessions = engine.sessions();
    let (engine, options) = (engine.clone(), Arc::new(options.clone()));
    let words = windows_of(reader, plan).map(move |window| {
        let (engine, options) = (engine.clone(), Arc::clone(&options));
        async move {
            let window = window?;
            let judged = engine.transcribe(window.samples, &options).await?;
            Ok::<_, RecordingError>((time_of(window.start), judged))
        }
    });
    words.buffered(sessions).boxed()
}
