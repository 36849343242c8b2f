//! Harmless warnings of libjpeg, recognised by their texts in `jerror.h`.

/// Maximum number of stray bytes that are harmless at one position. More bytes are image data beyond the size in the header.
const MAX_STRAY_BYTES: u32 = 1024;

/// A warning after which all pixels can still be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// A header field that no decoder needs has an unusual value.
    Header,
    /// Bytes before a marker that belong to no segment.
    StrayBytes {
        /// The second byte of the marker.
        marker: u8,
    },
}

impl Warning {
    /// The harmless warning in a message of libjpeg; `None` for any other message.
    pub fn parse(message: &str) -> Option<Self> {
        const HEADER: [&str; 4] = [
            "Invalid SOS parameters for sequential JPEG",
            "unknown JFIF revision number",
            "Unknown Adobe color transform code",
            "bad ICC marker",
        ];
        if HEADER.iter().any(|text| message.contains(text)) {
            return Some(Self::Header);
        }
        let (before, marker) = message.split_once(" extraneous bytes before marker 0x")?;
        let count: u32 = before.rsplit(' ').next()?.parse().ok()?;
        let marker = u8::from_str_radix(marker.get(..2)?, 16).ok()?;
        (count <= MAX_STRAY_BYTES).then_some(Self::StrayBytes { marker })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_warnings_are_recognised() {
        assert_eq!(Warning::parse("Invalid SOS parameters for sequential JPEG"), Some(Warning::Header));
        let stray = |count: u32| format!("Corrupt JPEG data: {count} extraneous bytes before marker 0xd2");
        assert_eq!(Warning::parse(&stray(2)), Some(Warning::StrayBytes { marker: 0xd2 }));
        assert_eq!(Warning::parse(&stray(MAX_STRAY_BYTES + 1)), None);
        for damage in [
            "Premature end of JPEG file",
            "Corrupt JPEG data: premature end of data segment",
            "Corrupt JPEG data: bad Huffman code",
            "Corrupt JPEG data: found marker 0xd3 instead of RST2",
        ] {
            assert_eq!(Warning::parse(damage), None, "{damage}");
        }
    }
}
