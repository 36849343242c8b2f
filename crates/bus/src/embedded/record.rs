//! How a message lies in a segment: its place as one number, its headers as one blob, its time in microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contracts::Headers;

use crate::seam::Position;

/// Bits of a place that are the offset; the partition stands above them. Seventeen trillion messages fit a partition.
const OFFSET_BITS: u32 = 44;

/// Partition and offset in one number that sorts by partition, then offset: the row id.
pub fn place(position: Position) -> i64 {
    (i64::from(position.partition) << OFFSET_BITS) | position.offset
}

/// The position that a place stands for.
pub fn position(place: i64) -> Position {
    let partition = i32::try_from(place >> OFFSET_BITS).unwrap_or(i32::MAX);
    Position { partition, offset: place & ((1 << OFFSET_BITS) - 1) }
}

/// Headers as bytes: for each, the length of the name (u32, little endian), the name, the length of the value, the value.
pub fn encode_headers(headers: &Headers) -> Vec<u8> {
    let length = headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
    let mut encoded = Vec::with_capacity(length);
    for (name, value) in headers.iter() {
        for part in [name.as_bytes(), value] {
            // A message is bounded by its topic's limit, far below 4 GiB.
            encoded.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            encoded.extend_from_slice(part);
        }
    }
    encoded
}

/// Headers out of bytes, or nothing when they do not read.
pub fn decode_headers(encoded: Bytes) -> Option<Headers> {
    let mut rest = encoded;
    let mut headers = Headers::new();
    while !rest.is_empty() {
        let name = String::from_utf8(take(&mut rest)?.into()).ok()?;
        headers.push(name, take(&mut rest)?);
    }
    Some(headers)
}

fn take(rest: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    if rest.len() - 4 < length {
        return None;
    }
    let mut part = rest.split_to(4 + length);
    Some(part.split_off(4))
}

/// Microseconds since 1970; a time outside what fits becomes the nearest that does.
pub fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

/// The time of a message that was stored as microseconds.
pub fn system_time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_went() {
        let mut headers = Headers::new().with("ce_id", "1").with("", "empty name").with("ce_id", "again");
        headers.push("bytes", Bytes::from_static(&[0, 255, 128]));
        assert_eq!(decode_headers(encode_headers(&headers).into()), Some(headers));
        assert_eq!(decode_headers(Bytes::new()), Some(Headers::new()));
    }

    #[test]
    fn headers_cut_anywhere_inside_do_not_read() {
        let encoded = Bytes::from(encode_headers(&Headers::new().with("name", "value")));
        for length in 1..encoded.len() {
            assert_eq!(decode_headers(encoded.slice(..length)), None, "{length}");
        }
        assert_eq!(decode_headers(Bytes::from_static(&[255, 255, 255, 255, 1])), None);
    }

    #[test]
    fn places_sort_by_partition_then_offset_and_come_back() {
        let ordered = [(0, 0), (0, 1), (0, (1 << OFFSET_BITS) - 1), (1, 0), (11, 5), (500_000, 7)];
        let ordered: Vec<Position> =
            ordered.into_iter().map(|(partition, offset)| Position { partition, offset }).collect();
        assert!(ordered.windows(2).all(|pair| place(pair[0]) < place(pair[1])));
        ordered.into_iter().for_each(|at| assert_eq!(position(place(at)), at));
    }
}
