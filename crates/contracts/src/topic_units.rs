//! Durations and sizes as `topics.yaml` has them.

pub(super) mod duration {
    //! `90s`, `15m`, `24h`, `7d`.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = duration.as_secs();
        let fitting = UNITS.into_iter().find(|(_, length)| seconds.is_multiple_of(*length));
        let (unit, length) = fitting.unwrap_or(("s", 1));
        serializer.collect_str(&format_args!("{}{unit}", seconds / length))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = UNITS.into_iter().find_map(|(unit, length)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(length)
        });
        read.map(Duration::from_secs)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a duration such as 90s, 15m, 24h or 7d")))
    }
}

pub(super) mod size {
    //! `1GiB`, `500MB`, or a number of bytes.

    use bytesize::ByteSize;
    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(size: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        size.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_any(Size).map(Some)
    }

    struct Size;

    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a size such as 1GiB, or a number of bytes")
        }

        fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
            Ok(bytes)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let size = text.parse::<ByteSize>();
            size.map(|size| size.as_u64()).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
}
