//! Decoded pixels: 8-bit RGB, upright, rows from top to bottom without gaps.
//!
//! Every decoder in [`media`](crate::media) writes RGB. A model that needs BGR has no additional
//! cost, because its planes are filled from the packed pixels in any case.

mod buffers;

pub use buffers::BUFFER_POOL_BYTES;
pub(crate) use buffers::{buffer, release as release_buffers};

/// The pixels of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Drop for Pixels {
    fn drop(&mut self) {
        buffers::recycle(std::mem::take(&mut self.rgb));
    }
}

impl Pixels {
    /// Creates pixels from packed RGB rows; `None` unless there are exactly `width * height * 3` bytes and both sides are at least 1.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let expected = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        (expected > 0 && rgb.len() == expected).then_some(Self { width, height, rgb })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green and blue of every pixel, row by row: `width * height * 3` bytes.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The rows from top to bottom, `width * 3` bytes each.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.rgb.chunks_exact(self.width as usize * 3)
    }

    /// Pixels of the given size, each copied from the column and row that `source(column, row)` names.
    pub(crate) fn rearranged(&self, width: u32, height: u32, source: impl Fn(usize, usize) -> (usize, usize)) -> Self {
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for row in 0..height as usize {
            for column in 0..width as usize {
                let (x, y) = source(column, row);
                let start = (y * self.width as usize + x) * 3;
                rgb.extend_from_slice(&self.rgb[start..start + 3]);
            }
        }
        Self { width, height, rgb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_do_not_fit_the_size_are_refused() {
        assert!(Pixels::from_rgb(2, 2, vec![0; 11]).is_none());
        assert!(Pixels::from_rgb(0, 2, Vec::new()).is_none());
        assert!(Pixels::from_rgb(u32::MAX, u32::MAX, vec![0; 3]).is_none());
        assert_eq!(Pixels::from_rgb(2, 2, (0..12).collect()).unwrap().rows().nth(1).unwrap(), [6, 7, 8, 9, 10, 11]);
    }
}
