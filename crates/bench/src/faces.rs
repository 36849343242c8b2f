//! Faces over HTTP among many enrolled people: searches with a photograph, its embedding included, and enrolments; on SQLite and on
//! PostgreSQL.
//!
//! `sightline up` runs in a child process with its models. The people are added through the store, with made embeddings. One more is enrolled
//! from a photograph and then searched for, one search after the other. The goal is for a photograph with the sides of a camera's frame.

mod api;
mod filling;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use contracts::{SubjectId, TenantId};
use futures::TryStreamExt;
use gallery::{Calibration, GalleryKey};
use store::Relational;
use vision::media::{self, DecodeLimits};
use vision::sample;

use super::RunLength;
use super::latency::services::Services;
use super::namespace::Servers;
use super::report::{Goal, Report};
use super::stats::Times;
use api::Api;

const PHOTO: &[u8] = include_bytes!("latency/face.jpg");
/// Longer sides of the photographs that are searched for, in pixels; the first one has the goal.
const SIDES: [u32; 2] = [640, 1280];
/// Clients that enrol at the same time, as many as those of `sightline faces enrol`.
const SENDERS: usize = 4;
/// Limit of a search, in milliseconds.
const SEARCH_MS: f64 = 60.0;

/// Size of the bench.
#[derive(Debug, Args)]
pub struct FacesBench {
    /// People who are enrolled [default: 100000, quick: 5000]
    #[arg(long, value_name = "NUMBER")]
    faces_people: Option<usize>,

    /// Photograph with one face to search for [default: a built-in one]
    #[arg(long, value_name = "FILE")]
    faces_photo: Option<PathBuf>,
}

/// What is sent to each database.
struct Load {
    people: usize,
    searches: usize,
    enrolments: usize,
    /// The photograph, with each of [`SIDES`].
    photos: Vec<Bytes>,
}

impl FacesBench {
    /// Measures both databases, PostgreSQL only if it is set.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let load = Load {
            people: self.faces_people.unwrap_or_else(|| run_length.pick(100_000, 5_000)),
            searches: run_length.pick(500, 50),
            enrolments: run_length.pick(200, 20),
            photos: self.photos()?,
        };
        let mut report = Report::new("faces");
        report.setting("people", load.people);
        report.setting("searches", load.searches);
        report.setting("enrolments", load.enrolments);
        report.setting("clients_that_enrol", SENDERS);
        measure(&mut report, "SQLite", None, &load).await?;
        match servers.optional_database_url() {
            Some(url) => measure(&mut report, "PostgreSQL", Some(url), &load).await?,
            None => report.note("PostgreSQL was not measured: SIGHTLINE_DATABASE_URL is not set"),
        }
        Ok(report)
    }

    fn photos(&self) -> anyhow::Result<Vec<Bytes>> {
        let encoded = match &self.faces_photo {
            Some(file) => std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?,
            None => PHOTO.to_vec(),
        };
        let image = media::decode(&encoded, &DecodeLimits::default())?;
        let (width, height) = (image.width(), image.height());
        let scaled =
            |length: u32, side: u32| (u64::from(length) * u64::from(side) / u64::from(width.max(height))).max(1);
        let photo = |&side: &u32| {
            let encoded = sample::jpeg(&image, scaled(width, side) as u32, scaled(height, side) as u32)?;
            anyhow::Ok(Bytes::from(encoded))
        };
        SIDES.iter().map(photo).collect()
    }
}

async fn measure(report: &mut Report, name: &str, url: Option<&str>, load: &Load) -> anyhow::Result<()> {
    let mut settings = vec![("SIGHTLINE_FACES_SUBJECTS", "1000000000".to_owned())];
    settings.extend(url.map(|url| ("SIGHTLINE_DATABASE_URL", url.to_owned())));
    let services = Services::embedded_with(None, settings).await?;
    let store = match url {
        Some(url) => Relational::postgres(url, 2).await?,
        None => Relational::sqlite(services.data_folder().join("accounts.sqlite")).await?,
    }
    .with_subject_limit(u64::MAX);
    // A server may have the faces of a run that was killed.
    store.erase_faces(&TenantId::admin()).await?;
    let measured = measure_on(report, name, &services, &store, load).await;
    store.erase_faces(&TenantId::admin()).await.context("the faces of this bench were not deleted")?;
    store.close().await;
    services.end().await?;
    measured
}

async fn measure_on(
    report: &mut Report,
    name: &str,
    services: &Services,
    store: &Relational,
    load: &Load,
) -> anyhow::Result<()> {
    let api = Api::new(services)?;
    let photo = load.photos.first().context("there is no photograph")?;
    // Opens the models.
    let model = api.search(photo).await?.model;
    let dimensions = Calibration::of(&model).with_context(|| format!("{model} was not measured"))?.dimensions;
    let gallery = GalleryKey { tenant: TenantId::admin(), model };
    let filled = filling::fill(store, &gallery, dimensions, load.people).await?;
    report.figure(format!("{name}: subjects added by the store"), filled.subjects, "subjects/s");
    report.figure(format!("{name}: vectors of {dimensions} numbers added by the store"), filled.vectors, "vectors/s");

    let person = api.subject().await?;
    api.enrol(person, photo).await?;
    for (side, photo) in SIDES.into_iter().zip(&load.photos) {
        let (first, times) = searches(&api, photo, person, load).await?;
        let named = |what: &str| format!("{name}: search with a photograph of {side} pixels, {what}");
        report.figure(named("p50"), times.ms(0.5), "ms");
        if side == SIDES[0] {
            report.with_goal(named("p99"), times.ms(0.99), "ms", Goal::AtMost(SEARCH_MS));
            report.figure(named("the first, which reads the gallery"), first.as_secs_f64() * 1e3, "ms");
        } else {
            report.figure(named("p99"), times.ms(0.99), "ms");
        }
    }
    let enrolled = enrolments(&api, photo, load.enrolments).await?;
    report.figure(format!("{name}: photographs of {} pixels enrolled", SIDES[0]), enrolled, "images/s");
    Ok(())
}

/// Searches for the person. Returns the time of the first search, and those of the others.
async fn searches(api: &Api, photo: &Bytes, person: SubjectId, load: &Load) -> anyhow::Result<(Duration, Times)> {
    let mut times = Vec::with_capacity(load.searches + 1);
    for _ in 0..=load.searches {
        let began = Instant::now();
        let found = api.search(photo).await?;
        times.push(began.elapsed());
        let best = found.matches.first().map(|best| best.subject);
        ensure!(best == Some(person), "a search found {best:?} instead of {person}");
        ensure!(found.subjects == load.people as u64 + 1, "a search compared {} subjects", found.subjects);
    }
    let first = times.remove(0);
    Ok((first, times.into_iter().collect()))
}

/// Enrols the photograph for new people. Returns the number of enrolments a second.
async fn enrolments(api: &Api, photo: &Bytes, count: usize) -> anyhow::Result<f64> {
    let mut people = Vec::with_capacity(count);
    for _ in 0..count {
        people.push(api.subject().await?);
    }
    let began = Instant::now();
    let people = futures::stream::iter(people.into_iter().map(anyhow::Ok));
    people.try_for_each_concurrent(SENDERS, |person| api.enrol(person, photo)).await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
