//! `sightline books transcribe`: what is said in audio files, as text, JSON or subtitles.
//!
//! Everything happens on this machine. What was transcribed is kept until the transcript is written, so the same command continues a run
//! that was interrupted, without an option for it.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use audio_worker::speech::file::{self, FileJob, Progress, Report, Tools};
use audio_worker::speech::{Engine, FolderArgs, OnnxArgs, SpeechArgs, SpeechOptions};
use clap::Args;
use contracts::{Transcript, TranscriptFormat};
use indicatif::{ProgressBar, ProgressStyle};
use platform::shutdown::Interrupted;
use platform::{error_line, one_line, user_cache};
use settings::{Check, SettingErrors};

use crate::out;

/// Writes down what is said in audio files
#[derive(Debug, Args)]
pub struct Transcribe {
    /// Audio files, or videos with sound
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Language of the recordings, such as en [default: detected if the model for other languages is installed, else English]
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,

    /// Forms of the transcripts: txt, json, vtt, srt
    #[arg(long, value_delimiter = ',', default_value = "txt", value_name = "FORMATS")]
    format: Vec<TranscriptFormat>,

    /// Folder for the transcripts, each named like its recording [default: the transcript is printed]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// Find the time of each word too; the form json has them
    #[arg(long)]
    words: bool,

    /// Folder that keeps what is transcribed until the transcript is written [default: sightline/transcripts in the user's cache]
    #[arg(long, value_name = "FOLDER")]
    checkpoints: Option<PathBuf>,

    #[command(flatten)]
    folder: FolderArgs,

    #[command(flatten)]
    runtime: OnnxArgs,

    #[command(flatten)]
    speech: SpeechArgs,
}

impl Check for Transcribe {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.check_output());
    }
}

impl Transcribe {
    /// Transcribes the files in their order; the error contains the number of failed files.
    pub async fn run(self) -> anyhow::Result<()> {
        let stop = platform::shutdown::on_signal()?;
        let engine = self.engine().await?;
        if let Some(folder) = &self.output {
            std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let mut failed = 0;
        for file in &self.files {
            match stop.run_until_cancelled(Box::pin(self.transcribe(&engine, file))).await {
                Some(Ok(())) => {}
                Some(Err(error)) if self.files.len() == 1 || error.is::<out::OutputClosed>() => return Err(error),
                Some(Err(error)) => {
                    error_line(one_line(&format_args!("{}: {error:#}", file.display())));
                    failed += 1;
                }
                None => {
                    let kept = "what was transcribed is kept, and the same command goes on there";
                    return Err(Interrupted(kept.to_owned()).into());
                }
            }
        }
        if failed > 0 {
            bail!("{failed} of {} failed; the lines above say why", out::counted(self.files.len(), "file", "files"));
        }
        Ok(())
    }

    async fn engine(&self) -> anyhow::Result<Engine> {
        let (speech, folder, runtime) = (self.speech.clone(), self.folder.clone(), self.runtime.clone());
        Ok(tokio::task::spawn_blocking(move || Engine::new(&speech, &folder, &runtime)).await??)
    }

    async fn transcribe(&self, engine: &Engine, file: &Path) -> anyhow::Result<()> {
        let tools = Tools { folder: self.folder.clone(), runtime: self.runtime.clone() };
        let options = SpeechOptions { model: None, language: self.language.clone(), words: self.words };
        let checkpoints = self.checkpoints.clone().unwrap_or_else(default_checkpoints);
        let job = FileJob { file: file.to_owned(), checkpoints, options };
        let bar = bar();
        let transcribed = file::transcribe(engine, &tools, &job, &report(&bar)).await;
        bar.finish_and_clear();
        let transcribed = transcribed?;
        let transcript = &transcribed.transcript;
        let doubtful = transcript.segments.iter().filter(|segment| segment.flag.is_some()).count();
        if doubtful > 0 {
            let places = out::counted(doubtful, "place is", "places are");
            error_line(one_line(&format_args!("{}: {places} doubtful; the form json says which", file.display())));
        }
        self.write(file, transcript)?;
        // Not before: on a full disk the same command goes on with everything that was transcribed.
        transcribed.remove_checkpoints();
        Ok(())
    }

    fn write(&self, file: &Path, transcript: &Transcript) -> anyhow::Result<()> {
        for format in &self.format {
            let text = transcript.render(*format);
            let Some(folder) = &self.output else {
                out::line(text.trim_end())?;
                continue;
            };
            let path = folder.join(file.file_stem().unwrap_or_default()).with_added_extension(format.extension());
            std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
            out::line(one_line(&path.display()))?;
        }
        Ok(())
    }

    /// Before hours of work, not after them.
    fn check_output(&self) -> anyhow::Result<()> {
        if self.output.is_none() {
            ensure!(self.format.len() == 1, "several forms need a folder: name it with --output");
            return Ok(());
        }
        let mut names = BTreeSet::new();
        for file in &self.files {
            let name = file.file_stem().unwrap_or_default();
            let taken = format!("--output: two recordings are named {}; transcribe them one by one", name.display());
            ensure!(names.insert(name), taken);
        }
        Ok(())
    }
}

/// A folder in the user's cache.
fn default_checkpoints() -> PathBuf {
    user_cache(|name| std::env::var_os(name)).unwrap_or_else(std::env::temp_dir).join("sightline/transcripts")
}

/// Hidden where nobody sees it.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}, {eta} left");
    ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(bar: &ProgressBar) -> Report {
    let bar = bar.clone();
    Arc::new(move |progress| match progress {
        Progress::Listened { at, of } => {
            bar.set_message("seconds searched for speech");
            bar.set_length(of.as_secs());
            bar.set_position(at.as_secs());
        }
        Progress::Windows { done, of } => {
            if done == 0 {
                bar.reset();
                bar.set_message("windows transcribed");
                bar.set_length(of as u64);
            }
            bar.set_position(done as u64);
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        transcribe: Transcribe,
    }

    fn check(arguments: &[&str]) -> anyhow::Result<()> {
        Command::try_parse_from([&["transcribe"], arguments].concat())?.transcribe.check_output()
    }

    #[test]
    fn what_cannot_be_written_is_refused_before_the_work() {
        assert!(check(&["a/book.mp3"]).is_ok());
        assert!(check(&["a/book.mp3", "--output", "out", "--format", "json,vtt"]).is_ok());
        assert!(check(&["a/book.mp3", "--format", "json,vtt"]).unwrap_err().to_string().contains("--output"));
        let twice = check(&["a/book.mp3", "b/book.flac", "--output", "out"]).unwrap_err().to_string();
        assert!(twice.contains("named book"), "{twice}");
        assert!(check(&["a/book.mp3", "--format", "doc"]).unwrap_err().to_string().contains("json, txt, vtt, srt"));
    }
}
