//! Reads the format of CTranslate2: named variables, each with dimensions, a type and its numbers.
//!
//! Everything is little-endian. A text is its length with a final zero, 16 bits, and its bytes. Names of variables that equal another one
//! follow at the end; they are skipped.

use std::collections::BTreeMap;

/// The version of the format.
const VERSION: u32 = 6;

/// The type of half-precision numbers.
const HALF: u8 = 4;

/// The type of 16-bit integers.
const INTEGER: u8 = 2;

/// Maximum number of dimensions of a variable.
const MAX_RANK: u8 = 4;

/// The variables of a file, by name.
pub struct Variables<'a>(BTreeMap<&'a str, Variable<'a>>);

/// One variable.
#[derive(Debug, Clone)]
pub struct Variable<'a> {
    /// Its dimensions. None for one number.
    pub dimensions: Vec<usize>,
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Variables<'a> {
    /// Reads a file that was made for this specification, such as `WhisperSpec`.
    ///
    /// # Errors
    /// The bytes are not such a file, or it is cut off.
    pub fn read(file: &'a [u8], specification: &str) -> Result<Self, String> {
        let mut reader = Reader(file);
        let version = reader.integer()?;
        let found = reader.text()?;
        if version != VERSION || found != specification {
            return Err(format!("not a {specification} of version {VERSION} of CTranslate2's format"));
        }
        let _revision = reader.integer()?;
        let mut variables = BTreeMap::new();
        for _ in 0..reader.integer()? {
            let name = reader.text()?;
            variables.insert(name, reader.variable()?);
        }
        for _ in 0..reader.integer()? {
            let (_alias, _name) = (reader.text()?, reader.text()?);
        }
        if reader.0.is_empty() { Ok(Self(variables)) } else { Err("bytes follow the last variable".to_owned()) }
    }

    /// The variable of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str) -> Result<&Variable<'a>, String> {
        self.0.get(name).ok_or_else(|| format!("the model has no `{}`", name.escape_debug()))
    }

    /// Whether there is a variable of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl<'a> Variable<'a> {
    /// Its half-precision numbers, two bytes each.
    ///
    /// # Errors
    /// It has another type.
    pub fn halves(&self) -> Result<&'a [u8], String> {
        if self.kind == HALF { Ok(self.bytes) } else { Err("a weight is not of half precision".to_owned()) }
    }

    /// Its only number, an integer above 0.
    ///
    /// # Errors
    /// It is something else.
    pub fn count(&self) -> Result<usize, String> {
        let number = match (self.kind, self.bytes) {
            (INTEGER, &[low, high]) => usize::try_from(i16::from_le_bytes([low, high])).ok(),
            _ => None,
        };
        number.filter(|number| *number > 0).ok_or_else(|| "a setting of the model is no number above 0".to_owned())
    }

    /// Its two dimensions.
    ///
    /// # Errors
    /// It has more or fewer.
    pub fn matrix(&self) -> Result<[usize; 2], String> {
        let dimensions = self.dimensions.as_slice();
        dimensions.try_into().map_err(|_| format!("a weight has the dimensions {dimensions:?} instead of two"))
    }
}

/// The part of the file that is not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, left) = self.0.split_at_checked(bytes).ok_or("the file is cut off")?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "the file is cut off".to_owned())
    }

    fn integer(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, String> {
        usize::try_from(self.integer()?).map_err(|error| error.to_string())
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = u16::from_le_bytes(self.array()?);
        let text = self.take(usize::from(length))?.strip_suffix(b"\0").ok_or("a name has no end")?;
        std::str::from_utf8(text).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn variable(&mut self) -> Result<Variable<'a>, String> {
        let [rank] = self.array()?;
        if rank > MAX_RANK {
            return Err(format!("a variable has {rank} dimensions"));
        }
        let dimensions = (0..rank).map(|_| self.length()).collect::<Result<Vec<_>, _>>()?;
        let [kind] = self.array()?;
        let length = self.length()?;
        let bytes = self.take(length)?;
        let numbers = dimensions.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        let expected = numbers.and_then(|numbers| numbers.checked_mul(2));
        if kind == HALF && expected != Some(length) {
            return Err(format!("a weight of the dimensions {dimensions:?} has {length} bytes"));
        }
        Ok(Variable { dimensions, kind, bytes })
    }
}
