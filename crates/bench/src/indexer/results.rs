//! The results that are indexed: alternately of a face detector and a vehicle detector.

use contracts::result::ResultData;
use contracts::{Attributes, BoundingBox, Detection, FrameId, Outcome, Point, ResultEvent, TenantId, Vehicle};
use jiff::Timestamp;
use uuid::Uuid;

/// Number of streams.
const STREAMS: usize = 16;

/// Number of documents that results produce.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    results: u64,
    detections: u64,
    alerts: u64,
}

impl Counts {
    /// Documents of the first `count` results.
    pub fn of(count: usize) -> Self {
        (0..count).fold(Self::default(), |counts, number| {
            let seen = Content::in_result(number);
            Self {
                results: counts.results + 1,
                detections: counts.detections + seen.detections().len() as u64,
                alerts: counts.alerts + u64::from(seen.alerts()),
            }
        })
    }

    /// All documents.
    pub const fn all(self) -> u64 {
        self.results + self.detections + self.alerts
    }
}

/// Content of an image.
enum Content {
    Nothing,
    Faces(usize),
    Vehicle { suspicious: bool },
}

impl Content {
    const fn in_result(number: usize) -> Self {
        match number % 10 {
            0 | 5 => Self::Nothing,
            1 | 6 => Self::Faces(1),
            2 => Self::Faces(2),
            7 => Self::Faces(3),
            3 => Self::Vehicle { suspicious: true },
            _ => Self::Vehicle { suspicious: false },
        }
    }

    const fn alerts(&self) -> bool {
        matches!(self, Self::Faces(_) | Self::Vehicle { suspicious: true })
    }

    fn detections(&self) -> Vec<Detection> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Faces(count) => vec![face(); *count],
            Self::Vehicle { suspicious } => vec![vehicle(if *suspicious { "SUV" } else { "Sedan" })],
        }
    }

    const fn detector(&self) -> &'static str {
        if matches!(self, Self::Vehicle { .. }) { "vehicle" } else { "face" }
    }
}

/// The result with this number; every call has a new frame id.
pub fn result(number: usize) -> anyhow::Result<ResultEvent> {
    let (seen, now) = (Content::in_result(number), Timestamp::now());
    let tenant = TenantId::admin();
    let stream = format!("camera-{}", number % STREAMS);
    let data = ResultData {
        frame_id: FrameId::now(),
        stream: Some(stream.parse()?),
        detector: seen.detector().parse()?,
        model: format!("{}_n", seen.detector()),
        captured_at: now,
        processed_at: now,
        outcome: Outcome::Ok { width: 1280, height: 720, detections: seen.detections(), image: None },
    };
    let key = format!("{tenant}/{stream}");
    Ok(ResultEvent { id: Uuid::now_v7(), tenant, key, traceparent: None, reply_to: None, retention: None, data })
}

fn face() -> Detection {
    let at = |x: f64, y: f64| Point { x, y };
    Detection {
        label: "face".to_owned(),
        confidence: 0.914_062_5,
        bounds: Some(BoundingBox { x: 512.25, y: 204.75, width: 96.5, height: 121.25 }),
        landmarks: vec![at(538.5, 250.0), at(583.25, 249.5), at(561.0, 277.75), at(541.5, 300.25), at(580.0, 299.5)],
        attributes: Attributes::default(),
    }
}

fn vehicle(category: &str) -> Detection {
    Detection {
        label: "vehicle".to_owned(),
        confidence: 0.875,
        bounds: Some(BoundingBox { x: 210.5, y: 388.0, width: 402.25, height: 233.5 }),
        landmarks: Vec::new(),
        attributes: Vehicle {
            category: Some(category.to_owned()),
            make: Some("Toyota".to_owned()),
            model: Some("Corolla".to_owned()),
            year: Some(2021),
        }
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_match_the_sent_results() {
        let counts = Counts::of(20);
        let detections = (0..20).map(|number| match result(number).unwrap().data.outcome {
            Outcome::Ok { detections, .. } => detections.len() as u64,
            Outcome::Failed { .. } => 0,
        });
        assert_eq!((counts.results, counts.detections), (20, detections.sum()));
        assert_eq!((counts.detections, counts.alerts, counts.all()), (22, 10, 52));
    }
}
