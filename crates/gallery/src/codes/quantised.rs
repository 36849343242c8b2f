//! A vector as int8 codes, and how far they are from it.

use crate::scan::{DEPTH, OFFSET};

/// The largest code. Symmetric, so that a vector and its opposite have opposite codes.
const LARGEST: f32 = 127.0;

/// Codes of a vector: the vector is nearly `scale × codes`.
pub(super) struct Quantised {
    /// −127 to 127, one for each number.
    pub(super) codes: Vec<i8>,
    /// The largest number divided by 127.
    pub(super) scale: f32,
    /// Upper bound of the length (L2) of `vector − scale × codes`.
    pub(super) radius: f32,
}

impl Quantised {
    /// Quantises a vector that is not all zero.
    pub(super) fn of(numbers: &[f32]) -> Self {
        let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        let scale = largest / LARGEST;
        let codes: Vec<i8> =
            numbers.iter().map(|number| (number / scale).round().clamp(-LARGEST, LARGEST) as i8).collect();
        let residual = |(number, code): (&f32, &i8)| f64::from(*number) - f64::from(scale) * f64::from(*code);
        let square: f64 = numbers.iter().zip(&codes).map(residual).map(|residual| residual * residual).sum();
        Self { codes, scale, radius: rounded_up(square.sqrt()) }
    }
}

/// A quantised query, in the form that the scan needs.
pub(super) struct Query {
    /// Its codes, four in each line.
    pub(super) lines: Vec<[i8; DEPTH]>,
    /// The sum of products with the offset of stored codes, which is part of every sum of the scan.
    pub(super) offset: i32,
    /// The number for a code of 1.
    pub(super) scale: f32,
    /// Upper bound of the length (L2) of `scale × codes`.
    pub(super) norm: f32,
    /// Upper bound of the length (L2) of `query − scale × codes`.
    pub(super) radius: f32,
}

impl Query {
    pub(super) fn of(numbers: &[f32]) -> Self {
        let Quantised { mut codes, scale, radius } = Quantised::of(numbers);
        codes.resize(codes.len().next_multiple_of(DEPTH), 0);
        let offset = codes.iter().map(|code| OFFSET * i32::from(*code)).sum();
        let square: f64 = codes.iter().map(|code| (f64::from(scale) * f64::from(*code)).powi(2)).sum();
        Self { lines: codes.as_chunks().0.to_vec(), offset, scale, norm: rounded_up(square.sqrt()), radius }
    }
}

/// The next `f32` that is not smaller.
fn rounded_up(number: f64) -> f32 {
    let near = number as f32;
    if f64::from(near) < number { near.next_up() } else { near }
}
