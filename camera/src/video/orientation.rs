//! How a video has to be turned to be upright. Phones record as the sensor lies, and write a display matrix into the file.

/// A turn by a multiple of 90 degrees, with or without mirroring. Other angles do not occur in recordings, and count as upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    /// Rows become columns.
    pub swaps: bool,
    /// A row of the upright image runs backwards in the decoded one.
    pub backwards: bool,
    /// The upright image begins at the end of the decoded one.
    pub from_end: bool,
}

impl Orientation {
    /// No turn.
    pub const UPRIGHT: Self = Self { swaps: false, backwards: false, from_end: false };

    /// Of a display matrix: nine 32-bit numbers, of which `a b` and `c d` turn: x' = ax + cy, y' = bx + dy.
    pub fn of_display_matrix(bytes: &[u8]) -> Self {
        let number = |index: usize| {
            let bytes = bytes.get(index * 4..index * 4 + 4)?;
            Some(i64::from(i32::from_ne_bytes(bytes.try_into().ok()?)))
        };
        let (Some(a), Some(b), Some(c), Some(d)) = (number(0), number(1), number(3), number(4)) else {
            return Self::UPRIGHT;
        };
        if a.abs() >= b.abs() && a != 0 && d != 0 {
            return Self { swaps: false, backwards: a < 0, from_end: d < 0 };
        }
        if b.abs() > a.abs() && c != 0 {
            return Self { swaps: true, backwards: c < 0, from_end: b < 0 };
        }
        Self::UPRIGHT
    }

    /// Copies a plane upright into `target`; `width` and `height` are those of the decoded plane. `map` is applied to each byte.
    pub fn copy(
        self,
        source: &[u8],
        stride: usize,
        (width, height): (usize, usize),
        target: &mut [u8],
        map: impl Fn(u8) -> u8 + Copy,
    ) {
        let (columns, rows) = if self.swaps { (height, width) } else { (width, height) };
        for (row, line) in target.chunks_exact_mut(columns).take(rows).enumerate() {
            let across = if self.from_end { rows - 1 - row } else { row };
            if self.swaps {
                let column = source.iter().skip(across).step_by(stride).take(height);
                fill(line, column, self.backwards, map);
            } else if let Some(bytes) = source.get(across * stride..across * stride + width) {
                fill(line, bytes.iter(), self.backwards, map);
            }
        }
    }
}

fn fill<'a>(
    line: &mut [u8],
    bytes: impl DoubleEndedIterator<Item = &'a u8> + ExactSizeIterator,
    backwards: bool,
    map: impl Fn(u8) -> u8,
) {
    if backwards {
        line.iter_mut().zip(bytes.rev()).for_each(|(to, from)| *to = map(*from));
    } else {
        line.iter_mut().zip(bytes).for_each(|(to, from)| *to = map(*from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> Vec<u8> {
        let one = 1 << 16;
        let numbers = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30];
        numbers.into_iter().flat_map(i32::to_ne_bytes).collect()
    }

    /// The image `ab` over `cd` over `ef`, turned.
    fn turned(matrix: &[u8]) -> String {
        let mut target = vec![0; 6];
        // Decoders pad rows.
        Orientation::of_display_matrix(matrix).copy(b"ab.cd.ef.", 3, (2, 3), &mut target, |byte| byte);
        String::from_utf8(target).unwrap()
    }

    #[test]
    fn an_image_is_turned_as_its_matrix_says() {
        assert_eq!(turned(&matrix(1, 0, 0, 1)), "abcdef");
        // Clockwise: the left column becomes the top row, read from below.
        assert_eq!(turned(&matrix(0, 1, -1, 0)), "ecafdb");
        assert_eq!(turned(&matrix(-1, 0, 0, -1)), "fedcba");
        assert_eq!(turned(&matrix(0, -1, 1, 0)), "bdface");
        // Mirrored, as by a front camera.
        assert_eq!(turned(&matrix(-1, 0, 0, 1)), "badcfe");
    }

    #[test]
    fn a_matrix_that_makes_no_sense_is_no_turn() {
        for wrong in [matrix(0, 0, 0, 0), vec![], vec![1; 7]] {
            assert_eq!(turned(&wrong), "abcdef");
        }
    }
}
