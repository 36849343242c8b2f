//! A decoded picture: 8-bit RGB, upright, rows from top to bottom without gaps.
//!
//! RGB and not BGR, because every decoder here writes RGB; a model that wants BGR gets it for free, since its planes are
//! filled from the packed pixels anyway.

mod spare;

pub use spare::SPARE_BYTES;
pub(crate) use spare::buffer;

/// A decoded, upright picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Drop for Image {
    fn drop(&mut self) {
        spare::keep(std::mem::take(&mut self.pixels));
    }
}

impl Image {
    /// A picture from packed RGB rows; `None` where the pixels are not exactly `width * height * 3` bytes or a side is 0.
    pub fn from_rgb(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        let expected = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        (expected > 0 && pixels.len() == expected).then_some(Self { width, height, pixels })
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
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The rows from top to bottom, `width * 3` bytes each.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.pixels.chunks_exact(self.width as usize * 3)
    }

    /// The picture of the given size whose pixel at column and row is this one's at `source(column, row)`.
    pub(crate) fn rearranged(&self, width: u32, height: u32, source: impl Fn(usize, usize) -> (usize, usize)) -> Self {
        let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
        for row in 0..height as usize {
            for column in 0..width as usize {
                let (x, y) = source(column, row);
                let start = (y * self.width as usize + x) * 3;
                pixels.extend_from_slice(&self.pixels[start..start + 3]);
            }
        }
        Self { width, height, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_whose_bytes_do_not_fit_its_size_is_refused() {
        assert!(Image::from_rgb(2, 2, vec![0; 11]).is_none());
        assert!(Image::from_rgb(0, 2, Vec::new()).is_none());
        assert!(Image::from_rgb(u32::MAX, u32::MAX, vec![0; 3]).is_none());
        assert_eq!(Image::from_rgb(2, 2, (0..12).collect()).unwrap().rows().nth(1).unwrap(), [6, 7, 8, 9, 10, 11]);
    }
}
