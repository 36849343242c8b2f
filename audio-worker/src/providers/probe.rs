//! One small call that an admin asks for, to see whether a provider works. It is in the ledger without a book.

use std::time::Duration;

use bytes::Bytes;
use contracts::MediaStep;
use media::MediaError;

use super::calls::{Answered, Bill, Called, Used};
use super::file::{Kind, OpenAi};
use super::http::CallFailure;
use super::openai::audio::{self, AudioRequest};
use super::openai::chat::{self, ChatRequest};
use super::provider::Provider;
use super::{Providers, prompts, wav};

/// Length of the silence that is sent.
const SILENCE: Duration = Duration::from_secs(1);
/// Samples of the same.
const SAMPLES: usize = 16_000;
/// Most tokens of an answer.
const TOKENS: u64 = 32;

/// Whether a provider works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether it does.
    pub works: bool,
    /// How it does, or why it does not.
    pub text: String,
}

impl Providers {
    /// Calls a provider, also one that cools or is off. `None`: no provider has this name.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn probe(&self, name: &str) -> Result<Option<Probe>, MediaError> {
        let Some((step, provider)) = self.all().find(|(_, provider)| provider.name() == name) else { return Ok(None) };
        if let Err(missing) = &provider.engine {
            return Ok(Some(Probe { works: false, text: missing.clone() }));
        }
        let called = match &provider.entry.kind {
            Kind::OpenAi(server) if step == MediaStep::Transcribe => self.probe_audio(provider, server).await?,
            Kind::OpenAi(server) => self.probe_text(provider, server).await?,
            Kind::Whisper { .. } | Kind::Extract => Called::Answered(()),
        };
        Ok(Some(match called {
            Called::Answered(()) => Probe { works: true, text: "it works".to_owned() },
            Called::Failed { failure, .. } => Probe { works: false, text: failure.text },
            Called::NoBudget { cause, .. } => Probe { works: false, text: cause.detail },
        }))
    }

    async fn probe_audio(&self, provider: &Provider, server: &OpenAi) -> Result<Called<()>, MediaError> {
        let file = Bytes::from(wav::file(&vec![0.0; SAMPLES]));
        let request = AudioRequest { file, length: SILENCE, language: None, temperature: 0.0 };
        let used = Used { audio_ms: Some(1_000), ..Used::default() };
        let call = Box::pin(async {
            let (_, request_id) = audio::transcribe(&self.0.client, server, &provider.left_out, &request).await?;
            Ok::<_, CallFailure>(Answered { value: (), used, request_id })
        });
        let bill = bill(provider, MediaStep::Transcribe, used, SILENCE);
        self.paid(provider, &provider.fingerprint().await, &bill, call).await
    }

    async fn probe_text(&self, provider: &Provider, server: &OpenAi) -> Result<Called<()>, MediaError> {
        let request = ChatRequest {
            system: "Answer in one word.".to_owned(),
            user: "Say yes.".to_owned(),
            schema: prompts::note_schema(),
            temperature: 0.0,
            max_tokens: TOKENS,
            is_plain: true,
        };
        let used = Used { audio_ms: None, tokens_in: Some(TOKENS * 4), tokens_out: Some(TOKENS) };
        let call = Box::pin(async {
            let (answer, request_id) = chat::ask(&self.0.client, server, &provider.left_out, &request).await?;
            let used = Used { audio_ms: None, tokens_in: answer.tokens_in, tokens_out: answer.tokens_out };
            Ok::<_, CallFailure>(Answered { value: (), used, request_id })
        });
        let bill = bill(provider, MediaStep::Summarise, used, Duration::ZERO);
        self.paid(provider, &provider.fingerprint().await, &bill, call).await
    }
}

fn bill(provider: &Provider, step: MediaStep, estimate: Used, audio: Duration) -> Bill {
    let limit = provider.limit(audio);
    Bill { book: None, generation: 0, step, window: None, budget_micro: None, estimate, limit }
}
