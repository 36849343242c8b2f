//! The segments of a JPEG file: a repaired copy without harmless faults, and the EXIF block.
//!
//! Segments and markers: ITU-T T.81, annex B.

/// Second bytes of markers. The first byte is always 0xff.
const START_OF_IMAGE: u8 = 0xd8;
pub const END_OF_IMAGE: u8 = 0xd9;
pub const START_OF_SCAN: u8 = 0xda;
pub const RESTART_INTERVAL: u8 = 0xdd;
const FIRST_RESTART: u8 = 0xd0;
const LAST_RESTART: u8 = 0xd7;
const TEMPORARY: u8 = 0x01;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;
const APP15: u8 = 0xef;
const COMMENT: u8 = 0xfe;

/// A part of a file.
pub enum Part<'b> {
    /// A segment: the second byte of its marker, and its content without the length.
    Segment(u8, &'b [u8]),
    /// Entropy-coded data of a scan, with its restart markers.
    Scan(&'b [u8]),
}

/// Whether the marker separates two restart intervals.
pub fn is_restart(marker: u8) -> bool {
    (FIRST_RESTART..=LAST_RESTART).contains(&marker)
}

/// Whether the marker starts a frame header.
pub fn is_frame(marker: u8) -> bool {
    (0xc0..=0xcf).contains(&marker) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// Whether the frame header is one of a sequential mode: baseline, extended, or extended with arithmetic coding.
pub fn is_sequential(marker: u8) -> bool {
    matches!(marker, 0xc0 | 0xc1 | 0xc9)
}

/// The parts of a file up to its end or to the first byte that does not start a segment. Bytes between segments are skipped, as
/// decoders do.
pub fn parts(bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = bytes.strip_prefix(&[0xff, START_OF_IMAGE]).unwrap_or_default();
    let mut after_scan_header = false;
    std::iter::from_fn(move || {
        if std::mem::take(&mut after_scan_header) {
            let (scan, next) = rest.split_at(scan_length(rest));
            rest = next;
            return Some(Part::Scan(scan));
        }
        let (marker, next) = next_marker(rest)?;
        if marker == END_OF_IMAGE {
            return None;
        }
        let (length, body) = next.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).checked_sub(2)?;
        let (content, next) = body.split_at_checked(length)?;
        rest = next;
        after_scan_header = marker == START_OF_SCAN;
        Some(Part::Segment(marker, content))
    })
}

/// The next marker that has a segment or ends the file, and the bytes behind it.
fn next_marker(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let start = bytes.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
        let marker = bytes[start + 1];
        bytes = &bytes[start + 2..];
        if !is_restart(marker) && marker != TEMPORARY {
            return Some((marker, bytes));
        }
    }
}

/// Bytes of entropy-coded data before the next marker that is not a restart marker.
fn scan_length(bytes: &[u8]) -> usize {
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff) && !is_restart(pair[1]);
    bytes.windows(2).position(ends).unwrap_or(bytes.len())
}

/// Appends a segment.
pub fn put_segment(target: &mut Vec<u8>, marker: u8, content: &[u8]) {
    target.extend([0xff, marker]);
    // The content comes from a segment, so its length fits.
    target.extend((content.len() as u16 + 2).to_be_bytes());
    target.extend(content);
}

/// A copy without the header's harmless faults, which decodes to the same pixels: fields that no
/// decoder needs get their usual values; segments that no decoder needs, stray bytes between
/// segments, and data after the image are removed.
/// `None` when there is no frame header.
pub fn repair(bytes: &[u8]) -> Option<Vec<u8>> {
    let frame = parts(bytes).find_map(|part| match part {
        Part::Segment(marker, content) if is_frame(marker) => Some((marker, content)),
        _ => None,
    });
    let (frame, frame_content) = frame?;
    let components = *frame_content.get(5)?;
    let mut repaired = Vec::with_capacity(bytes.len());
    repaired.extend([0xff, START_OF_IMAGE]);
    let mut complete = false;
    for part in parts(bytes) {
        match part {
            Part::Segment(APP0, content) if content.starts_with(b"JFIF\0") => {
                put_segment(&mut repaired, APP0, &with_byte(content, 5, 1));
            }
            Part::Segment(APP14, content) if content.starts_with(b"Adobe") => {
                put_segment(&mut repaired, APP14, &with_known_transform(content, components));
            }
            Part::Segment(APP0..=APP15 | COMMENT, _) => {}
            Part::Segment(START_OF_SCAN, content) if is_sequential(frame) => {
                put_segment(&mut repaired, START_OF_SCAN, &with_whole_spectrum(content));
            }
            Part::Segment(marker, content) => put_segment(&mut repaired, marker, content),
            Part::Scan(scan) => {
                repaired.extend(scan);
                complete = ends_with_marker(bytes, scan);
            }
        }
    }
    // A truncated file must stay truncated.
    if complete {
        repaired.extend([0xff, END_OF_IMAGE]);
    }
    Some(repaired)
}

/// Whether a marker follows the scan, which is a part of the file.
fn ends_with_marker(file: &[u8], scan: &[u8]) -> bool {
    let end = scan.as_ptr_range().end as usize - file.as_ptr() as usize;
    end < file.len()
}

fn with_byte(content: &[u8], index: usize, value: u8) -> Vec<u8> {
    let mut changed = content.to_vec();
    if let Some(byte) = changed.get_mut(index) {
        *byte = value;
    }
    changed
}

/// Adobe's colour transform, 0 to 2. libjpeg treats another number as YCbCr or, for four components, YCCK.
fn with_known_transform(content: &[u8], components: u8) -> Vec<u8> {
    const TRANSFORM: usize = 11;
    match content.get(TRANSFORM) {
        Some(3..) => with_byte(content, TRANSFORM, if components == 4 { 2 } else { 1 }),
        _ => content.to_vec(),
    }
}

/// The last three bytes of a scan header are the spectral selection and the bit positions, which are always 0, 63, 0 in a sequential scan.
fn with_whole_spectrum(content: &[u8]) -> Vec<u8> {
    let mut changed = content.to_vec();
    if let Some(spectrum) = changed.last_chunk_mut::<3>() {
        *spectrum = [0, 63, 0];
    }
    changed
}

/// The EXIF block before the first scan.
pub fn exif(bytes: &[u8]) -> Option<&[u8]> {
    for part in parts(bytes) {
        match part {
            Part::Segment(APP1, content) if content.starts_with(b"Exif\0\0") => return Some(content),
            Part::Scan(_) => return None,
            Part::Segment(..) => {}
        }
    }
    None
}
