//! The providers as an admin sees them: without keys, and without the paths of their files.

use contracts::MediaStep;
use media::Price;

use super::Providers;
use super::file::Kind;

/// A provider as an admin sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `Transcribe`, or `Summarise` for those that describe.
    pub task: MediaStep,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// `whisper`, `extract` or `openai`.
    pub kind: &'static str,
    /// Its model.
    pub model: Option<String>,
    /// The host and the port of its server.
    pub host: Option<String>,
    /// What it costs.
    pub price: Option<Price>,
    /// Why it does no work in this process.
    pub missing: Option<String>,
}

impl Providers {
    /// The providers in the order of the file.
    pub fn listed(&self) -> Vec<Listed> {
        let listed = self.all().map(|(task, provider)| {
            let entry = &provider.entry;
            let host = match &entry.kind {
                Kind::OpenAi(server) => Some(server.base_url.origin().ascii_serialization()),
                Kind::Whisper { .. } | Kind::Extract => None,
            };
            Listed {
                task,
                name: entry.name.clone(),
                group: entry.group.clone(),
                kind: entry.kind.as_str(),
                model: entry.model().map(str::to_owned),
                host,
                price: entry.price().cloned(),
                missing: provider.engine.as_ref().err().cloned(),
            }
        });
        listed.collect()
    }
}
