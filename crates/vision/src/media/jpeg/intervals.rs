//! Checks that every restart interval of a scan is complete.
//!
//! When libjpeg has skipped stray bytes before a restart marker, it does not report damage that
//! follows. Restart intervals do not depend on each other, so this module decodes each as a
//! separate image. A complete one causes no warning, or only one about stray bytes at its end.

use turbojpeg::{Decompressor, PixelFormat, ScalingFactor};

use super::header::{self, Part};
use super::warning::Warning;

/// Maximum number of intervals that are checked, to bound the time. An image of 65,535 lines has at most 8,192 if each
/// line of blocks is one, as encoders write them.
const MAX_INTERVALS: usize = 10_000;

/// Longest side of a JPEG in pixels that libjpeg decodes.
const MAX_SIDE: usize = 65_500;

/// Offsets in a frame header: height, width, number of components, and the first component.
const HEIGHT: usize = 1;
const COMPONENTS: usize = 5;
const FIRST_COMPONENT: usize = 6;

/// A file with one sequential scan and restart markers.
struct RestartScan<'b> {
    /// The file up to its scan data, without the frame header and the restart interval.
    segments: Vec<(u8, &'b [u8])>,
    frame: (u8, &'b [u8]),
    /// MCUs (minimum coded units) per interval.
    interval: usize,
    scan: &'b [u8],
}

/// Size of an MCU in pixels, and the number of MCUs in the image.
struct Layout {
    width: usize,
    height: usize,
    count: usize,
}

/// Whether the file has one sequential scan with all its restart intervals, each of them complete.
pub fn all_complete(file: &[u8]) -> bool {
    RestartScan::parse(file).is_some_and(|scan| scan.is_complete() == Some(true))
}

impl<'b> RestartScan<'b> {
    /// `None` for a file of another form, such as a progressive one.
    fn parse(file: &'b [u8]) -> Option<Self> {
        let (mut segments, mut frame, mut interval, mut scan) = (Vec::new(), None, 0, None);
        for part in header::parts(file) {
            match part {
                Part::Segment(header::RESTART_INTERVAL, content) => {
                    interval = usize::from(u16::from_be_bytes(*content.first_chunk()?));
                }
                Part::Segment(marker, content) if header::is_frame(marker) => frame = Some((marker, content)),
                _ if scan.is_some() => return None,
                Part::Segment(marker, content) => segments.push((marker, content)),
                Part::Scan(data) => scan = Some(data),
            }
        }
        let (frame, scan) = (frame.filter(|(marker, _)| header::is_sequential(*marker))?, scan?);
        (interval > 0).then_some(Self { segments, frame, interval, scan })
    }

    fn is_complete(&self) -> Option<bool> {
        let layout = self.layout()?;
        let intervals = self.intervals()?;
        if intervals.len() != layout.count.div_ceil(self.interval) || intervals.len() > MAX_INTERVALS {
            return Some(false);
        }
        let mut remaining = layout.count;
        for data in intervals {
            let count = remaining.min(self.interval);
            remaining -= count;
            if !decodes(&self.image_of(data, count, &layout)?) {
                return Some(false);
            }
        }
        Some(true)
    }

    fn layout(&self) -> Option<Layout> {
        let content = self.frame.1;
        let side = |at: usize| Some(usize::from(u16::from_be_bytes(*content.get(at..)?.first_chunk()?)));
        let (height, width) = (side(HEIGHT)?, side(HEIGHT + 2)?);
        let components: Vec<&[u8]> = content.get(FIRST_COMPONENT..)?.chunks_exact(3).collect();
        if components.len() != usize::from(*content.get(COMPONENTS)?) {
            return None;
        }
        let largest = |shift: u32| components.iter().map(|component| usize::from(component[1] >> shift & 15)).max();
        // A single component is not interleaved: its MCU is one block, whatever its sampling factors.
        let (across, down) = if components.len() == 1 { (1, 1) } else { (largest(4)?, largest(0)?) };
        let (mcu_width, mcu_height) = (8 * across, 8 * down);
        if mcu_width == 0 || mcu_height == 0 {
            return None;
        }
        let count = width.div_ceil(mcu_width) * height.div_ceil(mcu_height);
        Some(Layout { width: mcu_width, height: mcu_height, count })
    }

    /// The data between restart markers; `None` if the markers are not numbered 0 to 7 in turn.
    fn intervals(&self) -> Option<Vec<&'b [u8]>> {
        let mut intervals = Vec::new();
        let mut start = 0;
        let restart = |at: &usize| self.scan[*at] == 0xff && header::is_restart(self.scan[*at + 1]);
        for at in (0..self.scan.len().saturating_sub(1)).filter(restart) {
            if usize::from(self.scan[at + 1] & 7) != intervals.len() % 8 {
                return None;
            }
            intervals.push(&self.scan[start..at]);
            start = at + 2;
        }
        intervals.push(&self.scan[start..]);
        Some(intervals)
    }

    /// An image of `count` MCUs with the data of one interval.
    fn image_of(&self, data: &[u8], count: usize, layout: &Layout) -> Option<Vec<u8>> {
        let across =
            (1..=count).rev().find(|across| count.is_multiple_of(*across) && across * layout.width <= MAX_SIDE)?;
        let (width, height) = (across * layout.width, count / across * layout.height);
        if height > MAX_SIDE {
            return None;
        }
        let mut frame = self.frame.1.to_vec();
        frame.get_mut(HEIGHT..HEIGHT + 2)?.copy_from_slice(&(height as u16).to_be_bytes());
        frame.get_mut(HEIGHT + 2..HEIGHT + 4)?.copy_from_slice(&(width as u16).to_be_bytes());
        let mut image = vec![0xff, 0xd8];
        header::put_segment(&mut image, self.frame.0, &frame);
        for (marker, content) in &self.segments {
            header::put_segment(&mut image, *marker, content);
        }
        image.extend(data);
        image.extend([0xff, header::END_OF_IMAGE]);
        Some(image)
    }
}

/// Whether an image decodes without a warning, other than one about stray bytes at its end.
fn decodes(image: &[u8]) -> bool {
    let Ok(mut decompressor) = Decompressor::new() else { return false };
    let Ok(header) = decompressor.read_header(image) else { return false };
    // All coefficients are read, and one pixel of each block is computed.
    if decompressor.set_scaling_factor(ScalingFactor::ONE_EIGHTH).is_err() {
        return false;
    }
    let scaled = header.scaled(ScalingFactor::ONE_EIGHTH);
    let format = if header.colorspace == turbojpeg::Colorspace::CMYK || header.colorspace == turbojpeg::Colorspace::YCCK
    {
        PixelFormat::CMYK
    } else {
        PixelFormat::RGB
    };
    let pitch = scaled.width * format.size();
    let mut pixels = vec![0; pitch * scaled.height];
    let output =
        turbojpeg::Image { pixels: &mut pixels[..], width: scaled.width, pitch, height: scaled.height, format };
    match decompressor.decompress(image, output) {
        Ok(()) => true,
        Err(error) => {
            let warning = Warning::parse(&error.to_string());
            warning == Some(Warning::StrayBytes { marker: header::END_OF_IMAGE })
        }
    }
}
