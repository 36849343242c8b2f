//! Measures costly conditions: the cost that they are charged, and the time of one evaluation on a detection with the longest texts.
//! The time for each step must be of one order, or the cost misses a way to be slow.
//!
//! ```sh
//! scripts/with-env cargo run --release -p rules --example rule_cost
//! ```

use std::time::Instant;

use contracts::{Attributes, BoundingBox, Detection, DetectorName, FrameId, Vehicle};
use rules::{Condition, DetectionSubject, NO_WATCHLISTS, Subject};

/// Evaluations of each condition.
const ROUNDS: u32 = 2_000;

/// Conditions that are costly in different ways.
fn conditions() -> Vec<String> {
    let repeat = |unit: &str, joint: &str, times: usize| vec![unit; times].join(joint);
    let joined = |terms: usize| repeat("make", "+", terms);
    let grouped = |terms: usize, groups: usize| repeat(&format!("({})", joined(terms)), "+", groups);
    vec![
        "true".to_owned(),
        r#"label == "face" && confidence > 0.8"#.to_owned(),
        "box.width * box.height > 0.1 * double(frame.width) * double(frame.height)".to_owned(),
        repeat("1<2", "&&", 250),
        repeat("label=='x'", "||", 120),
        repeat("make==model", "&&", 80),
        repeat("year in[0]", "||", 110),
        repeat("int(1.0)<0", "||", 100),
        repeat("box.x<0", "||", 140),
        repeat("make.contains('x')", "||", 50),
        repeat("make.lowerAscii()=='x'", "||", 60),
        repeat("size(make)==0", "||", 80),
        (0..60).map(|number| format!("watchlist('{number}')")).collect::<Vec<_>>().join("||"),
        format!("label in [{}]", repeat("'a'", ",", 200)),
        format!("make in [{}]", repeat("model", ",", 110)),
        format!("{} == 'x'", joined(20)),
        format!("({}).contains('x')", joined(14)),
        format!("({}){} == 'x'", joined(12), repeat(".lowerAscii()", "", 20)),
        format!("{} == 'x'", grouped(5, 9)),
        // Refused; the cost says what it would have been.
        format!("{} == 'x'", grouped(23, 17)),
        format!("({}){} == 'x'", grouped(15, 10), repeat(".lowerAscii()", "", 12)),
    ]
}

fn main() {
    let text = |length: usize| Some("\u{1F697}".repeat(length));
    let vehicle = Vehicle { category: text(128), make: text(128), model: text(128), year: Some(2020) };
    let detection = Detection {
        label: text(64).unwrap_or_default(),
        confidence: 0.5,
        bounds: Some(BoundingBox { x: 1.0, y: 1.0, width: 1.0, height: 1.0 }),
        landmarks: Vec::new(),
        attributes: Attributes::from(vehicle),
    };
    let Ok(detector) = "face".parse::<DetectorName>() else { return };
    let subject = Subject::Detection(DetectionSubject {
        frame_id: FrameId::from_position("example", 0, 0),
        detection: &detection,
        stream: None,
        detector: &detector,
        width: 640,
        height: 480,
        captured_at: jiff::Timestamp::UNIX_EPOCH,
        watchlists: &NO_WATCHLISTS,
    });
    println!("{:>6}  {:>10}  {:>8}", "steps", "µs", "ns/step");
    for source in conditions() {
        let shown: String = source.chars().take(60).collect();
        match Condition::compile(&source) {
            Err(error) => println!("{shown}: {error}"),
            Ok(condition) => {
                let started = Instant::now();
                for _ in 0..ROUNDS {
                    std::hint::black_box(condition.matches(&subject).is_ok());
                }
                let nanoseconds = started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
                let steps = condition.cost();
                println!("{steps:>6}  {:>10.2}  {:>8.0}  {shown}", nanoseconds / 1e3, nanoseconds / f64::from(steps));
            }
        }
    }
}
