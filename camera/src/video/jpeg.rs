//! Planes in, JPEG out.

use bytes::Bytes;
use turbojpeg::{Compressor, OutputBuf, Subsamp, YuvPlanesImage};

use super::Planes;

/// Quality of the images, from 1 to 100. Detectors find the same at 85 as at 95, at half of the bytes.
const QUALITY: i32 = 85;

/// Encodes the frames of one source.
pub struct Encoder {
    compressor: Compressor,
    /// The luma with even sides.
    even: Vec<u8>,
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new() -> anyhow::Result<Self> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(QUALITY)?;
        Ok(Self { compressor, even: Vec::new() })
    }

    /// The JPEG file of an image.
    ///
    /// # Errors
    /// When JPEG cannot express it: a side is longer than 65,535 pixels.
    pub fn encode(&mut self, planes: &Planes) -> anyhow::Result<Bytes> {
        let ((width, height), (u, v)) = (planes.size(), planes.chroma());
        let half = width.div_ceil(2);
        let is_even = width % 2 == 0 && height % 2 == 0;
        if !is_even {
            fill_even(&mut self.even, planes.luma(), width);
        }
        let image = YuvPlanesImage {
            y_plane: if is_even { planes.luma() } else { &self.even },
            u_plane: u,
            v_plane: v,
            width,
            height,
            y_stride: width.next_multiple_of(2),
            u_stride: half,
            v_stride: half,
            subsamp: Subsamp::Sub2x2,
        };
        let mut output = OutputBuf::new_owned();
        self.compressor.compress_yuv_planes(&image, &mut output)?;
        Ok(Bytes::copy_from_slice(&output))
    }
}

/// Repeats the last column and the last row where their number is odd: each pair of them shares a row and a column of chroma.
fn fill_even(even: &mut Vec<u8>, luma: &[u8], width: usize) {
    even.clear();
    let mut rows = 0;
    for row in luma.chunks_exact(width) {
        even.extend_from_slice(row);
        even.extend(row.last().filter(|_| width % 2 == 1));
        rows += 1;
    }
    if rows % 2 == 1 {
        even.extend_from_within(even.len() - width.next_multiple_of(2)..);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sides_are_made_even() {
        let mut even = Vec::new();
        fill_even(&mut even, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 3);
        assert_eq!(even, [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 7, 8, 9, 9]);
        fill_even(&mut even, &[1, 2], 1);
        assert_eq!(even, [1, 1, 2, 2]);
        fill_even(&mut even, &[7], 1);
        assert_eq!(even, [7, 7, 7, 7]);
    }
}
