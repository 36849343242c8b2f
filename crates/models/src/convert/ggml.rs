//! Writes the format of whisper.cpp: a head, and tensors of half-precision or 32-bit numbers. Everything is little-endian.

/// First number of a file.
const MAGIC: u32 = 0x6767_6d6c;

/// The type of 32-bit numbers.
const SINGLE: u32 = 0;

/// The type of half-precision numbers; also the type of a file whose matrices have it.
pub const HALF: u32 = 1;

/// A file that is being written.
pub struct Ggml(Vec<u8>);

impl Ggml {
    /// An empty file with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut file = Vec::with_capacity(bytes);
        file.extend_from_slice(&MAGIC.to_le_bytes());
        Self(file)
    }

    /// Adds an integer.
    ///
    /// # Errors
    /// It needs more than 31 bits, which the format does not have.
    pub fn integer(&mut self, number: usize) -> Result<(), String> {
        let number = i32::try_from(number).map_err(|_| format!("{number} is too large for the format"))?;
        self.0.extend_from_slice(&number.to_le_bytes());
        Ok(())
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Adds numbers.
    pub fn singles(&mut self, numbers: impl Iterator<Item = f32>) {
        self.0.extend(numbers.flat_map(f32::to_le_bytes));
    }

    /// Adds a tensor whose half-precision numbers stay as they are.
    ///
    /// # Errors
    /// A dimension is too large for the format.
    pub fn halves(&mut self, name: &str, dimensions: &[usize], halves: &[u8]) -> Result<(), String> {
        self.head(name, dimensions, HALF)?;
        self.bytes(halves);
        Ok(())
    }

    /// Adds a tensor whose half-precision numbers become 32-bit numbers.
    ///
    /// # Errors
    /// A dimension is too large for the format.
    pub fn widened(&mut self, name: &str, dimensions: &[usize], halves: &[u8]) -> Result<(), String> {
        self.head(name, dimensions, SINGLE)?;
        let (halves, _) = halves.as_chunks::<2>();
        self.singles(halves.iter().map(|half| widen(u16::from_le_bytes(*half))));
        Ok(())
    }

    fn head(&mut self, name: &str, dimensions: &[usize], kind: u32) -> Result<(), String> {
        self.integer(dimensions.len())?;
        self.integer(name.len())?;
        self.bytes(&kind.to_le_bytes());
        // The dimension that changes fastest is first.
        for side in dimensions.iter().rev() {
            self.integer(*side)?;
        }
        self.bytes(name.as_bytes());
        Ok(())
    }

    /// The file.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The 32-bit number that equals a half-precision one.
fn widen(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(half >> 10) & 0x1f, u32::from(half & 0x3ff));
    let magnitude = match exponent {
        // A subnormal number is a multiple of two to the power of -24, which is a normal 32-bit number.
        0 => (fraction as f32 / 16_777_216.0).to_bits(),
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers_are_widened_exactly() {
        let smallest = 2_f32.powi(-24);
        for (half, expected) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65_504.0),
            (0x0001, smallest),
            (0x03ff, 1023.0 * smallest),
            (0x0400, 1024.0 * smallest),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(widen(half).to_bits(), f32::to_bits(expected), "{half:#06x}");
        }
        assert!(widen(0x8000).is_sign_negative() && widen(0x7e00).is_nan());
    }

    #[test]
    fn a_tensor_has_its_dimensions_in_reverse() {
        let mut file = Ggml::with_capacity(64);
        file.widened("ab", &[2, 1], &[0x00, 0x3c, 0x00, 0xc0]).unwrap();
        let integers = |numbers: &[i32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let expected = [
            MAGIC.to_le_bytes().to_vec(),
            integers(&[2, 2, 0, 1, 2]),
            b"ab".to_vec(),
            1_f32.to_le_bytes().to_vec(),
            (-2_f32).to_le_bytes().to_vec(),
        ];
        assert_eq!(file.finish(), expected.concat());
    }
}
