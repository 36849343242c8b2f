//! The columns of a message in a segment: its position as the row id, its headers as one blob, its time in microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contracts::Headers;

use crate::seam::Position;

/// Lower bits of a row id, which are the offset; the partition is in the bits above. A partition holds 2^44 messages.
const OFFSET_BITS: u32 = 44;

/// The row id of a position. Row ids sort by partition, then offset.
pub fn row_id(position: Position) -> i64 {
    (i64::from(position.partition) << OFFSET_BITS) | position.offset
}

/// The position of a row id.
pub fn position(row_id: i64) -> Position {
    let partition = i32::try_from(row_id >> OFFSET_BITS).unwrap_or(i32::MAX);
    Position { partition, offset: row_id & ((1 << OFFSET_BITS) - 1) }
}

/// Headers as bytes. Each header is the length of its name (u32, little endian), the name, the length of its value, the value.
pub fn encode_headers(headers: &Headers) -> Vec<u8> {
    let length = headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
    let mut encoded = Vec::with_capacity(length);
    for (name, value) in headers.iter() {
        for part in [name.as_bytes(), value] {
            // A topic's limit keeps messages far below 4 GiB.
            encoded.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            encoded.extend_from_slice(part);
        }
    }
    encoded
}

/// Decodes headers; `None` where the bytes are invalid.
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

/// Microseconds since 1970, saturating.
pub fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

/// The time of stored microseconds.
pub fn system_time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_decode_as_they_were_encoded() {
        let mut headers = Headers::new().with("ce_id", "1").with("", "empty name").with("ce_id", "again");
        headers.push("bytes", Bytes::from_static(&[0, 255, 128]));
        assert_eq!(decode_headers(encode_headers(&headers).into()), Some(headers));
        assert_eq!(decode_headers(Bytes::new()), Some(Headers::new()));
    }

    #[test]
    fn truncated_headers_do_not_decode() {
        let encoded = Bytes::from(encode_headers(&Headers::new().with("name", "value")));
        for length in 1..encoded.len() {
            assert_eq!(decode_headers(encoded.slice(..length)), None, "{length}");
        }
        assert_eq!(decode_headers(Bytes::from_static(&[255, 255, 255, 255, 1])), None);
    }

    #[test]
    fn row_ids_sort_by_partition_then_offset() {
        let ordered = [(0, 0), (0, 1), (0, (1 << OFFSET_BITS) - 1), (1, 0), (11, 5), (500_000, 7)];
        let ordered: Vec<Position> =
            ordered.into_iter().map(|(partition, offset)| Position { partition, offset }).collect();
        assert!(ordered.windows(2).all(|pair| row_id(pair[0]) < row_id(pair[1])));
        ordered.into_iter().for_each(|at| assert_eq!(position(row_id(at)), at));
    }
}
