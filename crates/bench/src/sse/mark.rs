//! An alert whose JSON contains a time and a number (a mark), so that a client of any server can measure its delivery.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use contracts::alert::AlertData;
use contracts::{AlertEvent, AlertId, Attributes, BoundingBox, FrameId, RuleId, TenantId};
use memchr::memmem;

/// The start of a mark.
const BEGIN: &[u8] = b"sent-";
/// Digits of the time in nanoseconds and of the number.
const TIME: usize = 19;
const NUMBER: usize = 8;
/// Length of a mark in bytes.
pub const LENGTH: usize = BEGIN.len() + TIME + 1 + NUMBER;

/// A parsed mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Time since the alert was sent.
    pub age: Duration,
    /// Number of the alert.
    pub number: u32,
}

/// An alert with this number and the current time.
pub fn alert(number: u32) -> anyhow::Result<AlertEvent> {
    let frame_id = FrameId::now();
    let now = jiff::Timestamp::now();
    Ok(AlertEvent {
        tenant: TenantId::shared(),
        traceparent: None,
        data: AlertData {
            id: AlertId::of(&RuleId::built_in("face-seen"), &frame_id),
            rule: "face-seen".to_owned(),
            rule_id: RuleId::built_in("face-seen"),
            frame_id,
            stream: "gate-1".parse().ok(),
            detector: "face".parse()?,
            detection_id: format!("sent-{:019}-{number:08}", since_epoch().as_nanos()),
            label: "face".to_owned(),
            confidence: 0.93,
            bounds: Some(BoundingBox { x: 312.5, y: 96.25, width: 88.0, height: 121.5 }),
            attributes: Attributes::default(),
            matches: 1,
            captured_at: now,
            raised_at: now,
        },
    })
}

/// The JSON of [`alert`], as clients receive it.
pub fn json(number: u32) -> anyhow::Result<String> {
    serde_json::to_string(&alert(number)?.data).context("an alert as JSON")
}

/// Calls `each` for every mark; returns the number of processed bytes.
pub fn find(bytes: &[u8], mut each: impl FnMut(Mark)) -> usize {
    let now = since_epoch();
    let mut done = bytes.len().saturating_sub(LENGTH - 1);
    for at in memmem::find_iter(bytes, BEGIN) {
        let Some(mark) = bytes.get(at..at + LENGTH) else { break };
        if let Some(mark) = read(mark, now) {
            each(mark);
            done = done.max(at + LENGTH);
        }
    }
    done
}

fn read(mark: &[u8], now: Duration) -> Option<Mark> {
    let digits = std::str::from_utf8(mark.get(BEGIN.len()..)?).ok()?;
    let (time, number) = digits.split_once('-')?;
    let sent = Duration::from_nanos(time.parse().ok()?);
    Some(Mark { age: now.saturating_sub(sent), number: number.parse().ok()? })
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_found_once_in_any_pieces() {
        let text: String = (0..50).map(|number| format!("id: x\ndata: {}\n\n", json(number).unwrap())).collect();
        for size in [1, 7, 33, 500, text.len()] {
            let (mut kept, mut numbers) = (Vec::new(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                kept.extend_from_slice(piece);
                let done = find(&kept, |mark| {
                    assert!(mark.age < Duration::from_secs(120), "{mark:?}");
                    numbers.push(mark.number);
                });
                kept.drain(..done);
            }
            assert_eq!(numbers, (0..50).collect::<Vec<_>>(), "in pieces of {size}");
        }
    }
}
