//! Planes in, JPEG out.

use bytes::Bytes;
use turbojpeg::{Compressor, OutputBuf, Subsamp, YuvPlanesImage};

use super::Planes;

/// Quality of the images, from 1 to 100. Detectors find the same at 85 as at 95, at half of the bytes.
const QUALITY: i32 = 85;

/// Encodes the frames of one source.
pub struct Encoder(Compressor);

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new() -> anyhow::Result<Self> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(QUALITY)?;
        Ok(Self(compressor))
    }

    /// The JPEG file of an image.
    ///
    /// # Errors
    /// When JPEG cannot express it: a side is longer than 65,535 pixels.
    pub fn encode(&mut self, planes: &Planes) -> anyhow::Result<Bytes> {
        let ((width, height), (u, v)) = (planes.size(), planes.chroma());
        let half = width.div_ceil(2);
        let image = YuvPlanesImage {
            y_plane: planes.luma(),
            u_plane: u,
            v_plane: v,
            width,
            height,
            y_stride: width,
            u_stride: half,
            v_stride: half,
            subsamp: Subsamp::Sub2x2,
        };
        let mut output = OutputBuf::new_owned();
        self.0.compress_yuv_planes(&image, &mut output)?;
        Ok(Bytes::copy_from_slice(&output))
    }
}
