//! `sightline faces enrol`: each folder in a folder becomes a subject, and the images in it are enrolled.
//!
//! Only the server knows what is enrolled: a subject is found by its external id, and an image that it has is not stored again. So the same
//! command continues a run that was interrupted, and adds what came since.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use contracts::SubjectId;
use futures::TryStreamExt;
use indicatif::ProgressBar;
use platform::shutdown::Interrupted;
use platform::{error_line, one_line};
use settings::{Check, SettingErrors};

use super::people::{People, Person, check_layout};
use super::requests::{Requests, Stored, ends_all};
use super::tally::{Summary, Tally};
use crate::client::{Client, ClientArgs};
use crate::out;
use crate::sending::deadline::parse_wait;
use crate::sending::image_file;
use crate::sending::progress::progress;

/// Enrols a folder that has a folder for each person
#[derive(Debug, Args)]
pub struct Enrol {
    /// Folder with a folder for each person, such as ann/1.jpg and ben/1.jpg in it. The name of a person's folder becomes external id and
    /// name of the subject; all JPEG, PNG and WebP images in it are enrolled
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,

    #[command(flatten)]
    client: ClientArgs,

    /// Number of people whose images are sent at the same time
    #[arg(long, default_value = "4", value_name = "NUMBER", value_parser = settings::count::<usize>(1..=64))]
    concurrency: usize,

    /// Give up an image after this many seconds [default: 15 if the server does not answer; 300 if it is busy]
    #[arg(long, value_name = "SECONDS", value_parser = parse_wait, allow_negative_numbers = true)]
    wait: Option<u64>,
}

impl Check for Enrol {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(check_layout(&self.folder));
    }
}

impl Enrol {
    /// Enrols everything; the error contains the counts.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.client.client()?;
        let folder = self.folder.clone();
        let found = tokio::task::spawn_blocking(move || People::find(&folder)).await??;
        for note in &found.notes {
            error_line(one_line(note));
        }
        let summary = self.enrol_all(&client, &found).await?;
        if !summary.is_complete() {
            bail!("{summary}; the lines above say why");
        }
        out::line(summary)
    }

    /// Enrols people, some at the same time.
    ///
    /// # Errors
    /// After a signal, and when no image can be enrolled; says what became of those before.
    async fn enrol_all(&self, client: &Client, found: &People) -> anyhow::Result<Summary> {
        let stop = platform::shutdown::on_signal()?;
        let run = Run::new(Requests::new(client, self.wait), found);
        let people = futures::stream::iter(found.people.iter().map(anyhow::Ok));
        let all = people.try_for_each_concurrent(self.concurrency, |person| run.enrol(person));
        let ended = stop.run_until_cancelled(all).await;
        let summary = run.end();
        match ended {
            Some(Ok(())) => Ok(summary),
            Some(Err(error)) => Err(explain(error, &summary)),
            None => Err(Interrupted(format!("{summary}; the same command continues")).into()),
        }
    }
}

/// The error that ended the command, with the counts where there are any.
fn explain(error: anyhow::Error, summary: &Summary) -> anyhow::Error {
    if summary.is_begun() { error.context(summary.to_string()) } else { error }
}

/// An enrolment in progress.
struct Run<'a> {
    requests: Requests<'a>,
    bar: ProgressBar,
    /// People are enrolled side by side in one task, and each image counts at once: a signal may end the command at any time.
    summary: RefCell<Summary>,
}

impl<'a> Run<'a> {
    fn new(requests: Requests<'a>, found: &People) -> Self {
        let images: usize = found.people.iter().map(|person| person.images.len()).sum();
        let people = found.people.len() + found.without;
        let summary = Summary { people, done: found.without, without: found.without, ..Summary::default() };
        Self { requests, bar: progress(images, "images"), summary: RefCell::new(summary) }
    }

    fn end(self) -> Summary {
        self.bar.finish_and_clear();
        self.summary.into_inner()
    }

    /// Enrols the images of a person, one after the other, and prints a line with their counts.
    ///
    /// # Errors
    /// When no image of anybody can be enrolled, or standard output was closed.
    async fn enrol(&self, person: &Person) -> anyhow::Result<()> {
        let (name, mut images) = (&person.name, Tally::default());
        match self.requests.subject(name).await {
            Ok(subject) => {
                for path in &person.images {
                    let outcome = self.send(subject, path).await;
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    self.count(&mut images, 1, &format!("{name}/{file}"), outcome)?;
                }
            }
            Err(error) => self.count(&mut images, person.images.len(), name, Err(error))?,
        }
        self.summary.borrow_mut().finish(&images);
        self.bar.suspend(|| out::line(one_line(&format_args!("{name}: {images}"))))
    }

    async fn send(&self, subject: SubjectId, path: &Path) -> anyhow::Result<Stored> {
        let content = image_file::read(path).await?;
        self.requests.add_image(subject, &content).await
    }

    /// Counts so many images with this outcome; prints why they are not enrolled.
    ///
    /// # Errors
    /// When the outcome would be that of every image.
    fn count(
        &self,
        of_person: &mut Tally,
        images: usize,
        name: &str,
        outcome: anyhow::Result<Stored>,
    ) -> anyhow::Result<()> {
        let outcome = match outcome {
            Err(error) if ends_all(&error) => return Err(error),
            outcome => outcome,
        };
        if let Err(error) = &outcome {
            self.bar.suspend(|| error_line(one_line(&format_args!("{name}: {error:#}"))));
        }
        of_person.count(&outcome, images);
        self.summary.borrow_mut().images.count(&outcome, images);
        self.bar.inc(images as u64);
        Ok(())
    }
}
