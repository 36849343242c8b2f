//! Streams of tenants.

use std::collections::HashSet;

use contracts::api::{ReportedState, StreamReport};
use contracts::{DetectorName, FrameId, StreamName};
use jiff::{SignedDuration, Timestamp};
use store::{Documents, FrameSpan, PutStreamOutcome, SentFrames, SettingsOfStream, StoredReport, StreamSettings};

use crate::fixture::{IndexedBuilder, face, result, tenant, time};

/// More streams than any of these tests needs.
const MANY: usize = 100;

fn name(name: &str) -> StreamName {
    name.parse().unwrap()
}

fn with_detectors(names: Option<&[&str]>) -> StreamSettings {
    let parsed = |names: &[&str]| names.iter().map(|name| name.parse::<DetectorName>().unwrap()).collect();
    StreamSettings { detectors: names.map(parsed), ..StreamSettings::default() }
}

fn with_retention(days: u16) -> StreamSettings {
    StreamSettings { retention: Some(days.try_into().unwrap()), ..StreamSettings::default() }
}

/// Now, in the precision of the stores.
fn now() -> Timestamp {
    contracts::whole_microseconds(Timestamp::now())
}

fn week_ago() -> Timestamp {
    now() - SignedDuration::from_hours(7 * 24) - SignedDuration::from_secs(1)
}

fn report(at: Timestamp) -> StoredReport {
    let report = StreamReport {
        state: ReportedState::Failed,
        since: time("2026-01-02T03:04:05.000001Z"),
        frames_per_second: 4.875,
        frames_sent: 9_007_199_254_740_991,
        frames_skipped: 800,
        frames_dropped: 3,
        last_error: Some("$set: \"no route\" ü".to_owned()),
    };
    StoredReport { report, at }
}

/// One frame, accepted at this time.
fn frame_at(owner: &str, stream: &str, at: Timestamp) -> SentFrames {
    let span = FrameSpan::of(FrameId::now(), at);
    SentFrames { tenant: tenant(owner), stream: name(stream), captured_at: time("2026-01-02T03:04:05.000001Z"), span }
}

async fn put(
    store: &dyn Documents,
    owner: &str,
    stream: &str,
    names: Option<&[&str]>,
    most: usize,
) -> PutStreamOutcome {
    store.put_stream(&tenant(owner), &name(stream), &with_detectors(names), most).await.unwrap()
}

/// Names of the streams of a tenant.
async fn names(store: &dyn Documents, owner: &str) -> Vec<String> {
    let streams = store.streams(&tenant(owner), None, 1_000).await.unwrap();
    streams.into_iter().map(|stream| stream.name.to_string()).collect()
}

pub async fn a_tenant_sets_lists_and_deletes_its_streams(store: &dyn Documents) {
    for (owner, stream, names) in [
        ("a", "gate.2", Some(&["vehicle", "face"][..])),
        ("a", "Gate-1", None),
        ("a", "yard_3", Some(&["face"])),
        ("b", "gate.2", Some(&["face"])),
    ] {
        assert_eq!(put(store, owner, stream, names, MANY).await, PutStreamOutcome::Stored);
    }
    assert_eq!(names(store, "a").await, ["Gate-1", "gate.2", "yard_3"], "by the bytes of their names");
    let first = store.streams(&tenant("a"), None, 2).await.unwrap();
    let rest = store.streams(&tenant("a"), Some(&first[1].name), 2).await.unwrap();
    assert_eq!((first.len(), rest.len(), rest[0].name.as_str()), (2, 1, "yard_3"));
    let gate = store.stream(&tenant("a"), &name("gate.2")).await.unwrap().unwrap();
    assert_eq!(gate, first[1]);
    assert_eq!(gate.settings, with_detectors(Some(&["vehicle", "face"])));
    assert_eq!(store.stream(&tenant("b"), &name("Gate-1")).await.unwrap(), None);

    assert_eq!(put(store, "a", "yard_3", None, MANY).await, PutStreamOutcome::Stored);
    let of = |owner: &str, names: &[&str]| settings_of(owner, "gate.2", &with_detectors(Some(names)));
    assert_eq!(all_settings(store).await, [of("a", &["vehicle", "face"]), of("b", &["face"])]);

    assert!(!store.delete_stream(&tenant("b"), &name("Gate-1")).await.unwrap());
    assert!(store.delete_stream(&tenant("a"), &name("gate.2")).await.unwrap());
    assert!(!store.delete_stream(&tenant("a"), &name("gate.2")).await.unwrap());
    assert_eq!((names(store, "a").await.len(), names(store, "b").await.len()), (2, 1));
}

fn settings_of(owner: &str, stream: &str, settings: &StreamSettings) -> SettingsOfStream {
    SettingsOfStream { tenant: tenant(owner), stream: name(stream), settings: settings.clone() }
}

/// The settings of all streams that have some, in the order of their tenants.
async fn all_settings(store: &dyn Documents) -> Vec<SettingsOfStream> {
    let mut settings = store.stream_settings().await.unwrap();
    settings.sort_by(|one, other| one.tenant.as_str().cmp(other.tenant.as_str()));
    settings
}

pub async fn a_stream_has_a_retention_of_its_own(store: &dyn Documents) {
    let both = StreamSettings { retention: with_retention(3_650).retention, ..with_detectors(Some(&["face"])) };
    let put = async |owner: &str, settings: &StreamSettings| {
        store.put_stream(&tenant(owner), &name("gate"), settings, MANY).await.unwrap();
    };
    put("a", &with_retention(1)).await;
    put("b", &both).await;
    put("c", &StreamSettings::default()).await;
    let expected = [settings_of("a", "gate", &with_retention(1)), settings_of("b", "gate", &both)];
    assert_eq!(all_settings(store).await, expected);
    assert_eq!(store.stream(&tenant("b"), &name("gate")).await.unwrap().unwrap().settings, both);
    put("a", &StreamSettings::default()).await;
    put("b", &with_detectors(Some(&["face"]))).await;
    assert_eq!(all_settings(store).await, [settings_of("b", "gate", &with_detectors(Some(&["face"])))]);
}

pub async fn settings_reports_and_frames_of_a_stream_keep_each_other(store: &dyn Documents) {
    let (owner, stream) = (tenant("a"), name("gate-1"));
    let (report, sent) = (report(now()), frame_at("a", "gate-1", now()));
    store.record_frames(std::slice::from_ref(&sent), MANY).await.unwrap();
    store.put_report(&owner, &stream, &report, MANY).await.unwrap();
    put(store, "a", "gate-1", Some(&["face"]), MANY).await;
    let later = SentFrames { captured_at: time("2025-01-02T03:04:05Z"), ..frame_at("a", "gate-1", now()) };
    store.record_frames(std::slice::from_ref(&later), MANY).await.unwrap();
    store.put_report(&owner, &stream, &report, MANY).await.unwrap();

    let stored = store.stream(&owner, &stream).await.unwrap().unwrap();
    assert_eq!((stored.report, stored.settings), (Some(report), with_detectors(Some(&["face"]))));
    assert_eq!(stored.activity.last_frame_at, Some(sent.captured_at), "the newest capture time");
    let span = FrameSpan { from: sent.span.from, to: later.span.to, frames: 2, last: later.span.last };
    assert_eq!(stored.activity.spans, [span]);
    assert_eq!(names(store, "a").await, ["gate-1"]);
}

pub async fn frames_that_are_recorded_at_the_same_time_are_all_counted(store: &dyn Documents) {
    let sent: Vec<_> =
        (0..20).map(|number| frame_at("a", if number % 2 == 0 { "one" } else { "two" }, now())).collect();
    let writes = sent.iter().map(|sent| store.record_frames(std::slice::from_ref(sent), MANY));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    for stream in store.streams(&tenant("a"), None, 10).await.unwrap() {
        assert_eq!(stream.activity.spans.iter().map(|span| span.frames).sum::<u64>(), 10, "{}", stream.name);
    }
}

pub async fn a_stream_without_settings_expires_after_a_week(store: &dyn Documents) {
    let old = [frame_at("a", "frames", week_ago()), frame_at("a", "configured", week_ago())];
    put(store, "a", "configured", None, MANY).await;
    store.record_frames(&old, MANY).await.unwrap();
    store.put_report(&tenant("a"), &name("reports"), &report(week_ago()), MANY).await.unwrap();
    store.put_report(&tenant("a"), &name("configured"), &report(week_ago()), MANY).await.unwrap();
    assert_eq!(names(store, "a").await, ["configured"]);
    assert_eq!(store.stream(&tenant("a"), &name("frames")).await.unwrap(), None);
    assert!(!store.delete_stream(&tenant("a"), &name("reports")).await.unwrap());

    store.sweep(Timestamp::now()).await.unwrap();
    assert_eq!(names(store, "a").await, ["configured"]);
    store.record_frames(&[frame_at("a", "frames", now())], MANY).await.unwrap();
    store.put_report(&tenant("a"), &name("frames"), &report(week_ago()), MANY).await.unwrap();
    assert_eq!(names(store, "a").await, ["configured", "frames"], "an old report does not shorten its time");
}

pub async fn a_tenant_has_at_most_as_many_streams_as_allowed(store: &dyn Documents) {
    let minutes = |number: i64| now() - SignedDuration::from_mins(number);
    let sent =
        [frame_at("a", "older", minutes(20)), frame_at("a", "newer", minutes(10)), frame_at("a", "no-room", now())];
    store.record_frames(&sent[..2], 2).await.unwrap();
    store.record_frames(&sent, 2).await.unwrap();
    assert_eq!(names(store, "a").await, ["newer", "older"], "frames do not displace a stream");
    let newer = store.stream(&tenant("a"), &name("newer")).await.unwrap().unwrap();
    assert_eq!(newer.activity.spans[0].frames, 2, "a known stream is counted on");

    assert_eq!(put(store, "a", "set", None, 2).await, PutStreamOutcome::Stored);
    assert_eq!(names(store, "a").await, ["newer", "set"], "the stream that would expire first makes room");
    assert_eq!(put(store, "a", "reported", None, 2).await, PutStreamOutcome::Stored);
    assert_eq!(names(store, "a").await, ["reported", "set"]);
    for refused in [
        put(store, "a", "third", None, 2).await,
        store.put_report(&tenant("a"), &name("third"), &report(now()), 2).await.unwrap(),
    ] {
        assert_eq!(refused, PutStreamOutcome::Full);
    }
    assert_eq!(put(store, "a", "set", Some(&["face"]), 2).await, PutStreamOutcome::Stored, "it is there already");
    assert_eq!(put(store, "b", "third", None, 2).await, PutStreamOutcome::Stored);
    assert_eq!(names(store, "a").await, ["reported", "set"]);

    let at_once: Vec<String> = (0..8).map(|number| format!("stream-{number}")).collect();
    let puts = futures::future::join_all(at_once.iter().map(|stream| put(store, "c", stream, None, 3))).await;
    let stored = puts.into_iter().filter(|put| *put == PutStreamOutcome::Stored).count();
    assert_eq!((names(store, "c").await.len(), stored), (3, 3));
}

pub async fn a_new_report_displaces_only_a_stream_that_was_silent_for_a_day(store: &dyn Documents) {
    let hours = |number: i64| now() - SignedDuration::from_hours(number);
    let put_report =
        async |stream: &str| store.put_report(&tenant("a"), &name(stream), &report(now()), 3).await.unwrap();
    put(store, "a", "set", None, 3).await;
    let sent = [frame_at("a", "day-camera", hours(23)), frame_at("a", "gone", hours(25))];
    store.record_frames(&sent, 3).await.unwrap();
    assert_eq!(put_report("new").await, PutStreamOutcome::Stored);
    assert_eq!(names(store, "a").await, ["day-camera", "new", "set"], "the silent one makes room");
    for number in 0..3 {
        assert_eq!(put_report(&format!("flood-{number}")).await, PutStreamOutcome::Full);
    }
    assert_eq!(names(store, "a").await, ["day-camera", "new", "set"]);
    assert_eq!(put_report("day-camera").await, PutStreamOutcome::Stored, "a known stream reports on");
    assert_eq!(put(store, "a", "wanted", None, 3).await, PutStreamOutcome::Stored);
    assert_eq!(names(store, "a").await.len(), 3, "settings displace the one that was silent longest");
}

pub async fn frames_with_results_are_told_from_others(store: &dyn Documents) {
    let (one, other) = (result("2026-01-02T10:00:00Z", vec![face(0.5)]), result("2026-01-02T10:00:00Z", Vec::new()));
    store.put(&[one.clone(), one.clone().with_detector("vehicle"), other.clone()]).await.unwrap();
    let unknown: Vec<FrameId> = (0..150).map(|_| FrameId::now()).collect();
    let asked: Vec<FrameId> = unknown.iter().copied().chain([one.frame_id(), other.frame_id()]).collect();
    let found = store.frames_with_results(&asked).await.unwrap();
    assert_eq!(found, HashSet::from([one.frame_id(), other.frame_id()]));
    assert_eq!(store.frames_with_results(&[]).await.unwrap(), HashSet::new());
}
