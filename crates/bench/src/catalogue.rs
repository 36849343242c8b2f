//! The list of a shop with many books: pages by words and category over HTTP, on SQLite and on PostgreSQL.
//!
//! `sightline up` runs in a child process. The books are added through the store. A user then asks for pages, one after the other: of one
//! word, of a category, of both, and the pages after the first. The goal is for words and category together.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use contracts::api::{BookView, Page};
use contracts::{BookId, BookStatus, CategorySlug, Currency, Money};
use fastrand::Rng;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use store::Relational;
use store::relational::{BookWriteOutcome, CategoryRecord, NewBook};

use super::RunLength;
use super::latency::services::Services;
use super::namespace::Servers;
use super::report::{Goal, Report};
use super::stats::Times;

/// Limit of a page, in milliseconds.
const PAGE_MS: f64 = 20.0;
/// Books of a page.
const PAGE: usize = 50;
/// Books that are added at the same time.
const WRITERS: usize = 8;
/// Words of titles and descriptions. A book has eight of them, so a word is in one of twelve books.
const WORDS: [&str; 96] = [
    "abbey",
    "anchor",
    "apple",
    "autumn",
    "ballad",
    "beacon",
    "birch",
    "bishop",
    "bridge",
    "candle",
    "canyon",
    "castle",
    "cedar",
    "cellar",
    "chapel",
    "cherry",
    "circle",
    "citadel",
    "clock",
    "cloud",
    "coast",
    "compass",
    "copper",
    "coral",
    "cottage",
    "crown",
    "crystal",
    "desert",
    "dragon",
    "dream",
    "eagle",
    "ember",
    "empire",
    "falcon",
    "feather",
    "fiddle",
    "flame",
    "forest",
    "fortune",
    "fountain",
    "garden",
    "garnet",
    "ghost",
    "glacier",
    "harbour",
    "harvest",
    "hazel",
    "heron",
    "horizon",
    "island",
    "ivory",
    "jasmine",
    "journey",
    "jungle",
    "kettle",
    "lantern",
    "legend",
    "letter",
    "lighthouse",
    "lily",
    "lion",
    "marble",
    "meadow",
    "mirror",
    "monsoon",
    "moon",
    "mountain",
    "night",
    "oak",
    "ocean",
    "orchard",
    "palace",
    "pearl",
    "pepper",
    "pilgrim",
    "planet",
    "prairie",
    "raven",
    "river",
    "rose",
    "saffron",
    "sailor",
    "shadow",
    "silver",
    "sparrow",
    "spring",
    "star",
    "storm",
    "summer",
    "thunder",
    "tower",
    "valley",
    "velvet",
    "willow",
    "winter",
    "wolf",
];
/// Categories; a book has two of them.
const CATEGORIES: [&str; 10] =
    ["adventure", "biography", "children", "crime", "fantasy", "history", "horror", "poetry", "romance", "science"];

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct CatalogueBench {
    /// Number of books [default: 10000, quick: 2000]
    #[arg(long, value_name = "NUMBER")]
    catalogue_books: Option<usize>,
}

impl CatalogueBench {
    /// Measures both databases, PostgreSQL only if it is set.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let books = self.catalogue_books.unwrap_or_else(|| run_length.pick(10_000, 2_000));
        let pages = run_length.pick(1_000, 200);
        let mut report = Report::new("catalogue");
        report.setting("books", books);
        report.setting("books_of_a_page", PAGE);
        report.setting("pages", pages);
        measure(&mut report, "SQLite", None, books, pages).await?;
        match servers.optional_database_url() {
            Some(url) => measure(&mut report, "PostgreSQL", Some(url), books, pages).await?,
            None => report.note("PostgreSQL was not measured: SIGHTLINE_DATABASE_URL is not set"),
        }
        Ok(report)
    }
}

async fn measure(report: &mut Report, name: &str, url: Option<&str>, books: usize, pages: usize) -> anyhow::Result<()> {
    let mut settings = vec![("SIGHTLINE_RATE_LIMIT_RPS", "none".to_owned())];
    settings.extend(url.map(|url| ("SIGHTLINE_DATABASE_URL", url.to_owned())));
    let services = Services::embedded_with(None, settings).await?;
    let store = match url {
        Some(url) => Relational::postgres(url, WRITERS as u32).await?,
        None => Relational::sqlite(services.data_folder().join("accounts.sqlite")).await?,
    };
    let filled = fill(&store, books).await;
    let measured = match &filled {
        Ok(added) => {
            report.figure(format!("{name}: books added by the store"), books as f64 / added.as_secs_f64(), "books/s");
            list(report, name, &services, pages).await
        }
        Err(_) => Ok(()),
    };
    store.close().await;
    services.end().await?;
    filled?;
    measured
}

/// Adds the books, and returns how long that took.
async fn fill(store: &Relational, books: usize) -> anyhow::Result<Duration> {
    for slug in CATEGORIES {
        let category = CategoryRecord { slug: slug.parse()?, label: slug.to_owned(), hint: None, accepted: true };
        ensure!(store.put_category(&category, None).await?, "there are too many categories");
    }
    let mut random = Rng::with_seed(14);
    let new = (0..books).map(|number| book(number, &mut random)).collect::<anyhow::Result<Vec<_>>>()?;
    let began = Instant::now();
    let adding = stream::iter(&new).map(|book| async move {
        let outcome = store.create_book(book, None, Timestamp::now()).await?;
        ensure!(matches!(outcome, BookWriteOutcome::Stored(_)), "a book was not added: {outcome:?}");
        anyhow::Ok(())
    });
    adding.buffer_unordered(WRITERS).try_collect::<()>().await?;
    Ok(began.elapsed())
}

fn book(number: usize, random: &mut Rng) -> anyhow::Result<NewBook> {
    let mut words = |count: usize| (0..count).map(|_| *random.choice(WORDS.iter()).unwrap_or(&"")).collect::<Vec<_>>();
    let (title, description) = (words(3).join(" "), words(5).join(" "));
    let first = random.usize(..CATEGORIES.len());
    let second = (first + 1 + random.usize(..CATEGORIES.len() - 1)) % CATEGORIES.len();
    let category = |index: usize| CATEGORIES[index].parse::<CategorySlug>();
    Ok(NewBook {
        id: BookId::now(),
        title: format!("{title} {number}"),
        author: format!("Author {}", number % 500),
        language: Some("en".to_owned()),
        price: Some(Money { minor: 999, currency: Currency::EUR }),
        description: Some(description),
        categories: vec![category(first)?, category(second)?],
        status: BookStatus::Ready,
    })
}

/// Asks for pages of every kind.
async fn list(report: &mut Report, name: &str, services: &Services, pages: usize) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let kinds =
        [("word and category", true, true), ("word", true, false), ("category", false, true), ("all", false, false)];
    for (kind, by_word, by_category) in kinds {
        let (mut random, mut times, mut found) = (Rng::with_seed(15), Vec::with_capacity(pages), 0);
        while times.len() < pages {
            let mut query = vec![("limit", PAGE.to_string())];
            let mut choose = |from: &[&str]| from[random.usize(..from.len())].to_owned();
            query.extend(by_word.then(|| ("query", choose(&WORDS[..]))));
            query.extend(by_category.then(|| ("category", choose(&CATEGORIES[..]))));
            // The first page and, of every third list, all that follow.
            let follow = times.len().is_multiple_of(3);
            loop {
                let request = http.get(format!("{}/v1/books", services.url)).bearer_auth(&services.token).query(&query);
                let began = Instant::now();
                let response = request.send().await?;
                let (status, body) = (response.status(), response.bytes().await?);
                times.push(began.elapsed());
                ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
                let page: Page<BookView> = serde_json::from_slice(&body).context("an unknown response")?;
                found += page.items.len();
                query.retain(|(name, _)| *name != "cursor");
                match page.next_cursor {
                    Some(cursor) if follow && times.len() < pages => query.push(("cursor", cursor)),
                    _ => break,
                }
            }
        }
        ensure!(found > pages, "the lists by {kind} are nearly empty: {found} books on {pages} pages");
        let times: Times = times.into_iter().collect();
        let named = |what: &str| format!("{name}: page of books by {kind}, {what}");
        report.figure(named("p50"), times.ms(0.5), "ms");
        if by_word && by_category {
            report.with_goal(named("p95"), times.ms(0.95), "ms", Goal::AtMost(PAGE_MS));
        } else {
            report.figure(named("p95"), times.ms(0.95), "ms");
        }
    }
    Ok(())
}
