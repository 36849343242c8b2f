//! Lists: pages, order, filters, scope.

use contracts::FrameId;
use store::{AlertFilter, DetectionFilter, Documents, FrameFilter, List, PageCursor, PageRequest, TenantScope};

use crate::fixture::{IndexedBuilder, car, face, result, scope, time, with_attribute};

/// A page that is large enough for every test.
pub const NEWEST: PageRequest = PageRequest::Newest { after: None, limit: 1_000 };
const OLDEST: PageRequest = PageRequest::Oldest { skip: 0, limit: 1_000 };

/// The ids of all detections, read in pages of `limit` with cursors that were encoded as text.
async fn paged(store: &dyn Documents, scope: &TenantScope, filter: &DetectionFilter, limit: u32) -> Vec<String> {
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = store.detections(scope, filter, &PageRequest::Newest { after, limit }).await.unwrap();
        let Some(last) = page.last() else { return ids };
        assert!(page.len() <= limit as usize);
        let cursor = PageCursor { at: last.captured_at, id: last.id.to_string() };
        after = Some(PageCursor::decode(&cursor.encode(List::Detections), List::Detections).unwrap());
        ids.extend(page.iter().map(|detection| detection.id.to_string()));
        assert!(ids.len() < 10_000, "the last page is never reached");
    }
}

pub async fn pages_with_equal_times_have_no_gap_or_repeat(store: &dyn Documents) {
    let mut batch = Vec::new();
    for n in 0..20 {
        let at = format!("2026-01-02T12:00:0{}Z", n / 7);
        let owner = ["a", "shared", "b"][n % 3];
        batch.push(result(&at, vec![face(0.5); 12]).with_tenant(owner).with_stream(["gate-1", "gate-2"][n % 2]));
    }
    store.put(&batch).await.unwrap();
    let stream = DetectionFilter { stream: Some("gate-1".parse().unwrap()), ..Default::default() };

    for scope in [TenantScope::All, scope("a"), scope("b"), scope("shared"), scope("nobody")] {
        for filter in [DetectionFilter::default(), stream.clone()] {
            let mut expected: Vec<(jiff::Timestamp, String)> = batch
                .iter()
                .filter(|put| scope.includes(&put.result.tenant))
                .filter(|put| filter.stream.is_none() || put.result.data.stream == filter.stream)
                .flat_map(|put| {
                    let ids = (0..12).map(|n| format!("{}-face-{n}", put.frame_id()));
                    ids.map(|id| (put.result.data.captured_at, id))
                })
                .collect();
            expected.sort_by(|one, other| other.cmp(one));
            let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
            for limit in [1, 7, 50, 1_000] {
                assert_eq!(paged(store, &scope, &filter, limit).await, expected, "{scope:?} {limit}");
            }
        }
    }
}

pub async fn sub_millisecond_times_keep_their_order(store: &dyn Documents) {
    let times = ["12:00:00.0004Z", "12:00:00.0001Z", "12:00:00.000101Z", "12:00:00.0003Z", "12:00:00.0002Z"];
    let at = |time: &str| format!("2026-01-02T{time}");
    let batch: Vec<_> = times.iter().map(|time| result(&at(time), vec![face(0.5)])).collect();
    store.put(&batch).await.unwrap();

    let ids = paged(store, &TenantScope::All, &DetectionFilter::default(), 2).await;

    let expected = [0, 3, 4, 2, 1].map(|n| format!("{}-face-0", batch[n].frame_id()));
    assert_eq!(ids, expected);
    let between = DetectionFilter {
        from: Some(time(&at("12:00:00.000101Z"))),
        to: Some(time(&at("12:00:00.0004Z"))),
        ..Default::default()
    };
    assert_eq!(paged(store, &TenantScope::All, &between, 2).await, expected[1..4]);

    // Times are truncated to microseconds.
    let fine = result(&at("13:00:00.123456789Z"), vec![face(0.5)]);
    store.put(std::slice::from_ref(&fine)).await.unwrap();
    let [read] = store.frame(&TenantScope::All, fine.frame_id()).await.unwrap().try_into().unwrap();
    assert_eq!(read.result.data.captured_at, time(&at("13:00:00.123456Z")));
}

pub async fn oldest_first_pages_skip_by_number(store: &dyn Documents) {
    let batch: Vec<_> = (0..10).map(|n| result(&format!("2026-01-02T12:00:0{n}Z"), vec![face(0.5)])).collect();
    store.put(&batch).await.unwrap();
    let expected: Vec<FrameId> = batch.iter().map(IndexedBuilder::frame_id).collect();

    for (skip, limit) in [(0, 3), (3, 3), (9, 3), (10, 3), (0, 100), (u64::MAX, 1), (2, 0)] {
        let page = PageRequest::Oldest { skip, limit };
        let read = store.detections(&scope("a"), &DetectionFilter::default(), &page).await.unwrap();
        let read: Vec<FrameId> = read.iter().map(|detection| detection.id.frame).collect();
        let skip = usize::try_from(skip).unwrap().min(10);
        let end = (skip + limit as usize).min(10);
        assert_eq!(read, expected[skip..end], "{page:?}");
    }
}

pub async fn frame_pages_never_split_a_frame(store: &dyn Documents) {
    let mut expected = Vec::new();
    for n in 0..9 {
        // Three frames for each time, with results of two detectors. Every third frame has no detections.
        let found = if n % 3 == 0 { vec![] } else { vec![face(0.5), face(0.25)] };
        let one = result(&format!("2026-01-02T12:00:0{}Z", n / 3), found).with_tenant("a");
        let other = one.reprocessed().with_detector("vehicle");
        store.put(&[one.clone(), other.clone()]).await.unwrap();
        expected.push((one.result.data.captured_at, one.frame_id(), [one.result, other.result]));
    }
    expected.sort_by_key(|(at, id, _)| std::cmp::Reverse((*at, *id)));

    for limit in [1, 2, 4, 100] {
        let mut read = Vec::new();
        let mut after = None;
        loop {
            let page = store
                .frames(&scope("a"), &FrameFilter::default(), &PageRequest::Newest { after, limit })
                .await
                .unwrap();
            let Some(last) = page.last() else { break };
            let last = &last[0].result.data;
            after = Some(PageCursor { at: last.captured_at, id: last.frame_id.to_string() });
            read.extend(
                page.into_iter().map(|frame| frame.into_iter().map(|stored| stored.result).collect::<Vec<_>>()),
            );
        }
        let expected: Vec<_> = expected.iter().map(|(_, _, results)| results.to_vec()).collect();
        assert_eq!(read, expected, "{limit}");
    }
}

pub async fn oldest_first_frames_skip_whole_frames(store: &dyn Documents) {
    let mut expected = Vec::new();
    for n in 0..5 {
        let one = result(&format!("2026-01-02T12:00:0{n}Z"), vec![face(0.5)]);
        store.put(&[one.clone(), one.reprocessed().with_detector("vehicle")]).await.unwrap();
        expected.push(one.frame_id());
    }
    for (skip, limit) in [(0, 2), (2, 2), (4, 2), (5, 2), (1, 0)] {
        let page = PageRequest::Oldest { skip, limit };
        let frames = store.frames(&TenantScope::All, &FrameFilter::default(), &page).await.unwrap();
        let start = skip as usize;
        let end = (start + limit as usize).min(5);
        assert_eq!(frames.iter().map(|frame| frame[0].result.data.frame_id).collect::<Vec<_>>(), expected[start..end]);
        assert!(frames.iter().all(|frame| frame.len() == 2), "{page:?}");
    }
}

pub async fn each_detection_filter_selects_only_matches(store: &dyn Documents) {
    let mut sure = car("Straße", "Audi", "Q3");
    sure.confidence = 0.9;
    store
        .put(&[
            result("2026-01-02T10:00:00Z", vec![car("SUV", "Audi", "Q3"), car("suv", "BMW", "X1")])
                .with_stream("gate-1"),
            result("2026-01-02T11:00:00Z", vec![sure, face(0.25)]).with_stream("gate-2"),
            result("2026-01-02T12:00:00Z", vec![car("", "audi", "")]),
            result("2026-01-02T13:00:00Z", vec![car("", "", "")]),
        ])
        .await
        .unwrap();
    let none = DetectionFilter::default();
    let text = |text: &str| Some(text.to_owned());
    let eleven = time("2026-01-02T11:00:00Z");
    let cases = [
        (none.clone(), 6),
        // The last one has only a year.
        (DetectionFilter { vehicles_only: true, ..none.clone() }, 5),
        (DetectionFilter { vehicles_only: true, label: text("face"), ..none.clone() }, 0),
        (DetectionFilter { from: Some(eleven), ..none.clone() }, 4),
        (DetectionFilter { to: Some(eleven), ..none.clone() }, 2),
        (DetectionFilter { from: Some(eleven), to: Some(eleven), ..none.clone() }, 0),
        (DetectionFilter { stream: Some("gate-1".parse().unwrap()), ..none.clone() }, 2),
        (DetectionFilter { stream: Some("gate-1".parse().unwrap()), from: Some(eleven), ..none.clone() }, 0),
        (DetectionFilter { label: text("face"), ..none.clone() }, 1),
        (DetectionFilter { label: text("Face"), ..none.clone() }, 0),
        (DetectionFilter { category: text("Suv"), ..none.clone() }, 2),
        (DetectionFilter { category: text("STRAßE"), ..none.clone() }, 1),
        (DetectionFilter { category: text("SU"), ..none.clone() }, 0),
        (DetectionFilter { make: text("Audi"), ..none.clone() }, 2),
        (DetectionFilter { make: text("Audi"), category: text("suv"), ..none.clone() }, 1),
        (DetectionFilter { min_confidence: Some(0.75), ..none.clone() }, 5),
        (DetectionFilter { min_confidence: Some(0.9), ..none.clone() }, 1),
        (DetectionFilter { min_confidence: Some(1.0), ..none.clone() }, 0),
    ];
    for (filter, expected) in cases {
        for scope in [TenantScope::All, scope("a")] {
            for page in [NEWEST, OLDEST] {
                let read = store.detections(&scope, &filter, &page).await.unwrap();
                assert_eq!(read.len(), expected, "{filter:?} {page:?}");
            }
        }
    }
}

/// Attribute filters, with `|` between several values, and the indexes of the matching detections.
type Case = (&'static [(&'static str, &'static str)], &'static [u32]);

pub async fn attribute_filters_match_value_and_type(store: &dyn Documents) {
    let red = with_attribute(with_attribute(car("SUV", "Audi", "Q3"), "colour", "red"), "doors", 4);
    let four = with_attribute(with_attribute(face(0.5), "doors", "4"), "parked", true);
    let one = with_attribute(with_attribute(face(0.5), "doors", 1), "weight", 1.5);
    let put = result("2026-01-02T10:00:00Z", vec![red, four, one, face(0.5)]).with_tenant("a").with_stream("gate-1");
    store.put(std::slice::from_ref(&put)).await.unwrap();
    let cases: [Case; 18] = [
        (&[("colour", "red")], &[0]),
        (&[("colour", "Red")], &[]),
        (&[("colour", "$exists")], &[]),
        (&[("doors", "4")], &[1, 0]),
        (&[("doors", "4.0")], &[0]),
        (&[("doors", "4"), ("colour", "red")], &[0]),
        (&[("doors", "1")], &[2]),
        (&[("parked", "true")], &[1]),
        (&[("parked", "1")], &[]),
        (&[("weight", "1.5")], &[2]),
        (&[("missing", "x")], &[]),
        (&[("make", "Audi"), ("colour", "red")], &[0]),
        (&[("year", "2020")], &[0]),
        (&[("year", "new")], &[]),
        (&[("doors", "1|4.0")], &[2, 0]),
        (&[("doors", "1|4|7"), ("colour", "blue|red")], &[0]),
        (&[("colour", "blue|green")], &[]),
        (&[("make", "BMW|Audi")], &[0]),
    ];
    for (attributes, expected) in cases {
        let values = |text: &str| text.split('|').map(str::to_owned).collect();
        let attributes = attributes.iter().map(|(name, texts)| (name.parse().unwrap(), values(texts))).collect();
        let filter = DetectionFilter { attributes, ..Default::default() };
        let on_stream = DetectionFilter { stream: put.result.data.stream.clone(), ..filter.clone() };
        for (scope, filter) in [(TenantScope::All, &filter), (scope("a"), &filter), (scope("a"), &on_stream)] {
            let read = store.detections(&scope, filter, &NEWEST).await.unwrap();
            assert_eq!(read.iter().map(|seen| seen.id.index).collect::<Vec<_>>(), expected, "{scope:?} {filter:?}");
        }
        assert_eq!(store.detections(&scope("b"), &filter, &NEWEST).await.unwrap(), []);
    }
}

pub async fn each_frame_filter_selects_only_matches(store: &dyn Documents) {
    let early = result("2026-01-02T10:00:00Z", vec![]).with_stream("gate-1");
    let late = result("2026-01-02T11:00:00Z", vec![face(0.5)]).with_stream("gate-2");
    store.put(&[early.clone(), late.clone()]).await.unwrap();
    let none = FrameFilter::default();
    let (ten, eleven) = (early.result.data.captured_at, late.result.data.captured_at);
    let cases = [
        (none.clone(), vec![late.frame_id(), early.frame_id()]),
        (FrameFilter { from: Some(eleven), ..none.clone() }, vec![late.frame_id()]),
        (FrameFilter { to: Some(eleven), ..none.clone() }, vec![early.frame_id()]),
        (FrameFilter { from: Some(ten), to: Some(ten), ..none.clone() }, vec![]),
        (FrameFilter { stream: early.result.data.stream.clone(), ..none.clone() }, vec![early.frame_id()]),
    ];
    for (filter, expected) in cases {
        for scope in [TenantScope::All, scope("a")] {
            let frames = store.frames(&scope, &filter, &NEWEST).await.unwrap();
            let ids: Vec<_> = frames.iter().map(|frame| frame[0].result.data.frame_id).collect();
            assert_eq!(ids, expected, "{filter:?}");
        }
    }
}

pub async fn alerts_are_listed_and_filtered(store: &dyn Documents) {
    let ten =
        result("2026-01-02T10:00:00Z", vec![face(0.5)]).with_tenant("a").with_stream("gate-1").with_alert("face seen");
    let eleven = result("2026-01-02T11:00:00Z", vec![car("SUV", "Audi", "Q3")]).with_alert("suspicious vehicle");
    let [ten_id, eleven_id] = [&ten, &eleven].map(|put| put.alerts[0].data.id);
    store.put(&[ten.clone(), eleven.clone()]).await.unwrap();
    let none = AlertFilter::default();
    let text = |text: &str| Some(text.to_owned());
    let at_eleven = Some(eleven.result.data.captured_at);
    let cases = [
        (none.clone(), vec![eleven_id, ten_id]),
        (AlertFilter { from: at_eleven, ..none.clone() }, vec![eleven_id]),
        (AlertFilter { to: at_eleven, ..none.clone() }, vec![ten_id]),
        (AlertFilter { stream: ten.result.data.stream.clone(), ..none.clone() }, vec![ten_id]),
        (AlertFilter { label: text("car"), ..none.clone() }, vec![eleven_id]),
        (AlertFilter { rule: text("face seen"), ..none.clone() }, vec![ten_id]),
        (AlertFilter { rule: text("face"), ..none.clone() }, vec![]),
    ];
    for (filter, expected) in cases {
        let read = store.alerts(&scope("a"), &filter, &NEWEST).await.unwrap();
        let ids: Vec<_> = read.iter().map(|stored| stored.alert.data.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
    let others = store.alerts(&scope("b"), &none, &NEWEST).await.unwrap();
    assert_eq!(others.len(), 1, "only the shared alert");
    let cursor = PageCursor { at: eleven.result.data.captured_at, id: eleven_id.to_string() };
    let rest = store.alerts(&scope("a"), &none, &PageRequest::Newest { after: Some(cursor), limit: 5 }).await.unwrap();
    assert_eq!(rest.iter().map(|stored| stored.alert.data.id).collect::<Vec<_>>(), [ten_id]);
}

pub async fn a_tenant_sees_its_own_and_shared_data(store: &dyn Documents) {
    let own = result("2026-01-02T10:00:00Z", vec![face(0.5)]).with_tenant("a").with_stream("gate-1");
    let shared = result("2026-01-02T11:00:00Z", vec![face(0.5)]).with_stream("gate-1");
    let other = result("2026-01-02T12:00:00Z", vec![face(0.5)]).with_tenant("b").with_stream("gate-1");
    store.put(&[own.clone(), shared.clone(), other.clone()]).await.unwrap();
    let on_stream = DetectionFilter { stream: Some("gate-1".parse().unwrap()), ..Default::default() };

    for (scope, expected) in [
        (TenantScope::All, vec![&other, &shared, &own]),
        (scope("a"), vec![&shared, &own]),
        (scope("b"), vec![&other, &shared]),
        (scope("shared"), vec![&shared]),
    ] {
        let expected: Vec<FrameId> = expected.into_iter().map(IndexedBuilder::frame_id).collect();
        for filter in [DetectionFilter::default(), on_stream.clone()] {
            let read = store.detections(&scope, &filter, &NEWEST).await.unwrap();
            assert_eq!(read.iter().map(|seen| seen.id.frame).collect::<Vec<_>>(), expected, "{scope:?}");
        }
        for put in [&own, &shared, &other] {
            let in_scope = expected.contains(&put.frame_id());
            let id = format!("{}-face-0", put.frame_id()).parse().unwrap();
            assert_eq!(store.detection(&scope, &id).await.unwrap().is_some(), in_scope, "{scope:?}");
            assert_eq!(store.frame(&scope, put.frame_id()).await.unwrap().len(), usize::from(in_scope), "{scope:?}");
        }
    }
}
