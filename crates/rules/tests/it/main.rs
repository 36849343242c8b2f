//! Conditions: variables, attributes, type errors, bounds.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::collections::HashSet;
use std::sync::Arc;

use contracts::{
    AttributeValue, Attributes, BoundingBox, Detection, DetectorName, FrameId, StreamName, Vehicle, WatchlistName,
};
use rules::{Condition, DetectionSubject, Error, MAX_SOURCE_BYTES, NO_WATCHLISTS, Subject, Watchlists};

fn face() -> Detection {
    Detection {
        label: "face".to_owned(),
        confidence: 0.875,
        bounds: Some(BoundingBox { x: 10.0, y: 20.0, width: 30.0, height: 40.5 }),
        landmarks: Vec::new(),
        attributes: Attributes::default(),
    }
}

fn evaluate(condition: &str, detection: &Detection) -> Result<bool, Error> {
    evaluate_with(condition, detection, &NO_WATCHLISTS)
}

fn evaluate_with(condition: &str, detection: &Detection, watchlists: &Watchlists) -> Result<bool, Error> {
    let (detector, stream): (DetectorName, StreamName) = ("face".parse().unwrap(), "gate-1".parse().unwrap());
    let subject = DetectionSubject {
        frame_id: FrameId::from_position("topic", 0, 7),
        detection,
        stream: Some(&stream),
        detector: &detector,
        width: 640,
        height: 480,
        // A Saturday.
        captured_at: "2026-11-21T22:15:00Z".parse().unwrap(),
        watchlists,
    };
    Condition::compile(condition)?.matches(&Subject::Detection(subject))
}

#[test]
fn every_variable_is_readable() {
    for condition in [
        r#"label == "face" && confidence > 0.8"#,
        r#"stream == "gate-1" && detector == "face""#,
        r#"stream.startsWith("gate") && !stream.endsWith("2") && stream.contains("-")"#,
        "box.x == 10.0 && box.y == 20 && box.width < 31 && box.height >= 40.5",
        "frame.width == 640 && frame.height == 480",
        "box.width * box.height > 0.003 * double(frame.width) * double(frame.height)",
        "hour == 22 && weekday == 6",
        r#"label in ["person", "face"]"#,
        "label == 'face' && label in ['person', 'face']",
        r#"category == "" && make == "" && model == "" && year == 0"#,
        r#"(label == "face" ? confidence : 0.0) > 0.5"#,
        r#"size(label) == 4 && "FACE".lowerAscii() == label"#,
        "confidence < 1",
    ] {
        assert_eq!(evaluate(condition, &face()), Ok(true), "{condition}");
        assert_eq!(evaluate(&format!("!({condition})"), &face()), Ok(false), "{condition}");
    }
}

#[test]
fn missing_values_are_empty_or_zero() {
    let bare = Detection { bounds: None, ..face() };
    assert_eq!(evaluate(r#"box.x + box.y + box.width + box.height == 0.0 && make == """#, &bare), Ok(true));
}

fn with_attributes(attributes: &[(&str, AttributeValue)]) -> Detection {
    let mut detection = face();
    for (name, value) in attributes {
        detection.attributes.set(name.parse().unwrap(), value.clone());
    }
    detection
}

#[test]
fn attributes_have_the_type_of_their_use() {
    let car = with_attributes(&[
        ("colour", "red".into()),
        ("doors", 4.0.into()),
        ("parked", true.into()),
        ("make", "Audi".into()),
    ]);
    for condition in [
        r#"attributes.colour == "red""#,
        r#""red" == attributes.colour"#,
        r#"attributes.colour in ["blue", "red"] && attributes.colour.startsWith("r")"#,
        r#"attributes.colour + attributes.make == "redAudi""#,
        "attributes.doors == 4 && attributes.doors > 3.5 && attributes.doors * 2.0 == 8.0",
        "attributes.parked",
        "attributes.parked && !attributes.stolen",
        "(attributes.parked ? attributes.doors : 0.0) > 3.0",
        r#"attributes.make == "Audi" && attributes.make == make && attributes.year == year"#,
        r#"attributes.plate == "" && attributes.wheels == 0.0"#,
        r#"attributes.plate == "" && attributes.plate == attributes.plate"#,
    ] {
        assert_eq!(evaluate(condition, &car), Ok(true), "{condition}");
        assert_eq!(evaluate(&format!("!({condition})"), &car), Ok(false), "{condition}");
    }
}

#[test]
fn a_watchlist_has_only_its_subjects() {
    let mut lists = Watchlists::default();
    for (name, subjects) in [("staff", vec!["1", "2"]), ("guests", vec!["3"]), ("nobody", vec![])] {
        let subjects: HashSet<String> = subjects.into_iter().map(str::to_owned).collect();
        lists.insert(name.parse().unwrap(), Arc::new(subjects));
    }
    let of = |subject: &str| with_attributes(&[("identity", "subject".into()), ("subject", subject.into())]);
    for (condition, subject, expected) in [
        (r#"watchlist("staff")"#, "2", true),
        ("watchlist('staff')", "3", false),
        (r#"watchlist("staff") || watchlist("guests")"#, "3", true),
        (r#"watchlist("staff") && watchlist("guests")"#, "1", false),
        (r#"!watchlist("staff") && label == "face""#, "3", true),
        (r#"watchlist("nobody")"#, "1", false),
        // It does not exist, or not yet.
        (r#"watchlist("other")"#, "1", false),
        (r#"(watchlist("staff") ? 1 : 0) == 1"#, "1", true),
    ] {
        assert_eq!(evaluate_with(condition, &of(subject), &lists), Ok(expected), "{condition} of {subject}");
    }
    assert_eq!(evaluate_with(r#"watchlist("staff")"#, &face(), &lists), Ok(false), "nobody was recognised");
    let named = Condition::compile(r#"watchlist("b") || watchlist("a") || watchlist("b")"#).unwrap();
    assert_eq!(named.watchlists().map(WatchlistName::as_str).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn an_attribute_of_another_type_counts_as_missing() {
    let odd = with_attributes(&[("colour", 7.0.into()), ("doors", "four".into()), ("parked", "yes".into())]);
    for condition in [r#"attributes.colour == """#, "attributes.doors == 0.0", "!attributes.parked"] {
        assert_eq!(evaluate(condition, &odd), Ok(true), "{condition}");
    }
}

#[test]
fn an_invalid_condition_error_says_what_is_allowed() {
    for (condition, expected) in [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("labl == \"face\"", "no variable \"labl\"; the variables are label,"),
        ("label == \"x\" || colour == \"red\"", "no variable \"colour\""),
        ("box.left > 1.0", "no variable \"box.left\""),
        ("label.matches(\"f.*\")", "no function \"matches\""),
        ("now() > 1", "no function \"now\""),
        ("confidence", "must be true or false"),
        ("label", "must be true or false"),
        ("label == 1", "== does not work on a text and a whole number"),
        ("label == \"x\" && year", "&& does not work on true or false and a whole number"),
        ("confidence * 2 > 1.0", "write 2.0 for 2"),
        ("label in \"face\"", "in needs a list"),
        ("label in [1]", "cannot be in a list"),
        ("[1, 2].all(x, x > 0)", "no loops"),
        ("[1].exists(x, x > 0)", "no loops"),
        ("has(box.x)", "has() is not needed"),
        ("label == null", "no null"),
        ("{\"a\": 1}.a == 1", "no variable"),
        ("label ==", "not valid CEL: unexpected end of line at line 1, column 9"),
        ("label = \"face\"", "not valid CEL: unexpected \"= \\\"face\\\"\" at line 1, column 7; write == to compare"),
        ("label == \"face\" and year > 1", "; write &&"),
        ("label == \"face\" or year > 1", "; write ||"),
        ("label == \u{201c}face\u{201d}", "; write straight quotes"),
        ("label == car", "no variable \"car\""),
        ("label == car", "; write a text in quotes, as in \"car\""),
        ("!make", "! does not work on a text"),
        ("size(1, 2) == 1", "see the table of functions in docs/RULES.md"),
        ("1 / 0 == 1", "cannot be evaluated: it divides by zero"),
        ("9223372036854775807 + 1 == 1", "cannot be evaluated: a number in it grows too large"),
        ("attributes == 1", "no variable \"attributes\""),
        ("attributes.a == attributes.b", "may be a string, a number or a boolean"),
        ("attributes.a == 1 || attributes.a == \"x\"", "== does not work on a fraction and a text"),
        ("attributes.Colour == \"red\"", "names are 1 to 32 of a-z 0-9 _"),
        ("attributes.doors % 2 == 1", "needs both sides whole"),
        ("attributes.doors + 1 == 5", "write 2.0 for 2"),
        ("attributes[\"colour\"] == \"red\"", "no variable \"attributes\""),
        ("watchlist(label)", "needs the name of one list in quotes"),
        ("watchlist(\"a\" + \"b\")", "needs the name of one list in quotes"),
        ("watchlist()", "needs the name of one list in quotes"),
        ("watchlist(\"a\", \"b\")", "needs the name of one list in quotes"),
        ("\"a\".watchlist()", "needs the name of one list in quotes"),
        ("watchlist(\"my list\")", "a watchlist must be 1 to 64 characters"),
        ("watchlist(\"\")", "a watchlist must be 1 to 64 characters"),
        ("watchlist == true", "no variable \"watchlist\""),
        ("label.contains(1)", "contains does not work on a text and a whole number"),
    ] {
        let error = Condition::compile(condition).expect_err(condition).to_string();
        assert!(error.contains(expected), "{condition}: {error}");
        assert_eq!(error.lines().count(), 1, "{condition}: {error}");
    }
}

#[test]
fn a_division_by_zero_fails_for_one_detection_only() {
    let condition = "2020 / year == 1";
    assert!(matches!(evaluate(condition, &face()), Err(Error::Evaluation(_))));
    let dated = Detection { attributes: Vehicle { year: Some(2020), ..Vehicle::default() }.into(), ..face() };
    assert_eq!(evaluate(condition, &dated), Ok(true));
}

#[test]
fn compiling_hostile_text_is_bounded() {
    let fill = |unit: &str| unit.repeat(MAX_SOURCE_BYTES / unit.len());
    let nested = |open: &str, middle: &str, close: &str, levels: usize| {
        format!("{}{middle}{}", open.repeat(levels), close.repeat(levels))
    };
    for text in [
        fill("("),
        fill("["),
        fill("{"),
        fill("!"),
        fill("-"),
        fill("- "),
        fill("!("),
        fill("a."),
        fill("a?"),
        fill("a?b:"),
        fill("1+"),
        fill("a["),
        fill("\"("),
        fill("f("),
        fill("{1:"),
        fill("\\"),
        fill("\u{0}"),
        fill("ü"),
        fill("'"),
        fill("\"\"\""),
        fill("//"),
        fill("a&&"),
        fill("a||!"),
        fill("[].map(x,"),
        fill("1 in "),
        fill("label in ["),
        nested("(", "true", ")", 1000),
        nested("[", "1", "]", 1000),
        nested("!(", "true", ")", 600),
        nested("(", "true", ")", 24),
        nested("[[1]].all(x,", "true", ")", 23),
        nested("size(", "label", ")", 20),
        format!("{}1 == 1", fill("1+").split_at(1900).0),
        format!("\"a\" == \"{}\"", "(".repeat(1900)),
        format!("label{} == \"\"", ".lowerAscii()".repeat(150)),
        "x".repeat(MAX_SOURCE_BYTES + 1),
    ] {
        // Any outcome is fine: the call must return, and the process survive.
        if let Ok(condition) = Condition::compile(&text) {
            assert!(condition.source().len() <= MAX_SOURCE_BYTES);
        }
    }
    let long_chain = vec!["label == \"face\""; 100].join(" || ");
    assert_eq!(evaluate(&long_chain, &face()), Ok(true), "a long chain is not nested");
}

#[test]
fn random_text_never_panics() {
    const PIECES: [&str; 28] = [
        "label",
        "confidence",
        "box.x",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "&&",
        "||",
        "==",
        "!=",
        "!",
        "-",
        "1",
        "0.5",
        "\"a\"",
        "in",
        "?",
        ":",
        ",",
        ".",
        "+",
        "%",
        "lowerAscii()",
        "size",
        " ",
    ];
    let mut state = 0x9e37_79b9_u64;
    for _ in 0..500 {
        let mut text = String::new();
        for _ in 0..(state % 40) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(PIECES[(state >> 33) as usize % PIECES.len()]);
        }
        state = state.wrapping_add(0x1234_5678_9abc);
        if let Ok(condition) = Condition::compile(&text) {
            drop(evaluate(condition.source(), &face()));
        }
    }
}
