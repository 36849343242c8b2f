//! The planes of an upright image as JPEG has them: luma and two chroma planes of half the size, full range.
//!
//! No RGB in between: the decoder has these planes already. Only what JPEG cannot express is changed. A decoder's luma goes from
//! 16 to 235, and JPEG's from 0 to 255, so the range is stretched while the planes are copied.

use anyhow::Context;
use ffmpeg_next::color::Range;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;

use super::{Frame, Orientation};

/// Buffers that every frame of a source uses again.
#[derive(Default)]
pub struct Planes {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

impl Planes {
    /// Width and height of the upright image.
    pub const fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The luma plane, row after row.
    pub fn luma(&self) -> &[u8] {
        &self.planes[0]
    }

    /// The chroma planes.
    pub fn chroma(&self) -> (&[u8], &[u8]) {
        (&self.planes[1], &self.planes[2])
    }

    /// Copies a frame in 4:2:0 (see [`Planar`]) upright.
    pub fn fill(&mut self, frame: &Frame, orientation: Orientation) {
        let size = (frame.width() as usize, frame.height() as usize);
        let upright = |(width, height)| if orientation.swaps { (height, width) } else { (width, height) };
        (self.width, self.height) = upright(size);
        let is_full = frame.format() == Pixel::YUVJ420P || frame.color_range() == Range::JPEG;
        for (index, plane) in self.planes.iter_mut().enumerate() {
            let part = if index == 0 { size } else { (size.0.div_ceil(2), size.1.div_ceil(2)) };
            let (stride, data) = (frame.stride(index), frame.data(index));
            plane.resize(part.0 * part.1, 0);
            match (is_full, index) {
                (true, _) => orientation.copy(data, stride, part, plane, |byte| byte),
                (false, 0) => orientation.copy(data, stride, part, plane, full_luma),
                (false, _) => orientation.copy(data, stride, part, plane, full_chroma),
            }
        }
    }
}

/// 16…235 to 0…255.
fn full_luma(byte: u8) -> u8 {
    let stretched = (u16::from(byte.clamp(16, 235)) - 16) * 255 / 219;
    // 219 * 255 / 219 is 255.
    stretched as u8
}

/// 16…240 around 128 to 0…255 around 128.
fn full_chroma(byte: u8) -> u8 {
    let stretched = (i16::from(byte) - 128) * 146 / 128 + 128;
    stretched.clamp(0, 255) as u8
}

/// Brings frames to 4:2:0 with 8 bits and to the wanted size; frames that are so already pass untouched.
#[derive(Default)]
pub struct Planar {
    scaler: Option<scaling::Context>,
    scaled: Option<Frame>,
}

impl Planar {
    /// The frame itself, or its converted copy.
    pub fn of<'a>(&'a mut self, frame: &'a Frame, size: (u32, u32)) -> anyhow::Result<&'a Frame> {
        let is_upside_down = (0..frame.planes()).any(|plane| frame.stride(plane) > isize::MAX as usize);
        let is_planar = [Pixel::YUV420P, Pixel::YUVJ420P].contains(&frame.format());
        if is_planar && !is_upside_down && size == (frame.width(), frame.height()) {
            return Ok(frame);
        }
        let format = target_format(frame);
        let scaler = match &mut self.scaler {
            Some(scaler) if fits(scaler, frame, size) => scaler,
            slot => {
                self.scaled = None;
                let flags = scaling::Flags::AREA;
                let (width, height) = (frame.width(), frame.height());
                let scaler = scaling::Context::get(frame.format(), width, height, format, size.0, size.1, flags);
                slot.insert(scaler.context("FFmpeg cannot convert the images of this source")?)
            }
        };
        let scaled = self.scaled.get_or_insert_with(Frame::empty);
        scaler.run(frame, scaled).context("FFmpeg cannot convert an image of this source")?;
        scaled.set_color_range(if is_rgb(frame.format()) { Range::MPEG } else { frame.color_range() });
        Ok(scaled)
    }
}

/// 4:2:0 with the range of the frame: a converter that changes it would do so in other numbers than [`Planes::fill`].
fn target_format(frame: &Frame) -> Pixel {
    let has_j = matches!(frame.format(), Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P);
    if has_j { Pixel::YUVJ420P } else { Pixel::YUV420P }
}

/// The converter makes the range of video of RGB, and keeps every other.
fn is_rgb(format: Pixel) -> bool {
    let name = format.descriptor().map_or("", |descriptor| descriptor.name());
    ["rgb", "bgr", "gbr", "pal"].iter().any(|part| name.contains(part))
}

fn fits(scaler: &scaling::Context, frame: &Frame, size: (u32, u32)) -> bool {
    let (input, output) = (scaler.input(), scaler.output());
    (input.format, input.width, input.height) == (frame.format(), frame.width(), frame.height())
        && (output.width, output.height) == size
}

/// The largest size within `bounds` that has the proportions of `size`, never larger than `size`, and even, as 4:2:0 is.
pub fn fitted(size: (u32, u32), bounds: (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(bounds.0) / f64::from(size.0)).min(f64::from(bounds.1) / f64::from(size.1));
    if scale >= 1.0 {
        return size;
    }
    let even = |length: u32| ((f64::from(length) * scale / 2.0).round() as u32 * 2).max(2);
    (even(size.0), even(size.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_stretched_to_that_of_jpeg() {
        assert_eq!([0, 16, 126, 235, 255].map(full_luma), [0, 0, 128, 255, 255]);
        assert_eq!([0, 16, 128, 240, 255].map(full_chroma), [0, 1, 128, 255, 255]);
    }

    #[test]
    fn a_resized_image_keeps_its_proportions() {
        assert_eq!(fitted((1920, 1080), (640, 640)), (640, 360));
        assert_eq!(fitted((1080, 1920), (640, 640)), (360, 640));
        assert_eq!(fitted((640, 360), (1280, 720)), (640, 360), "never larger");
        assert_eq!(fitted((1000, 3), (100, 100)), (100, 2));
    }
}
