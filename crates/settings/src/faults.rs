//! The errors of the settings, reported together instead of one after the other.

/// Errors of settings. Each names its setting and says which values are valid.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Adds an error.
    pub fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    /// Adds an error unless `condition` is true.
    pub fn ensure(&mut self, condition: bool, fault: impl FnOnce() -> String) {
        if !condition {
            self.add(fault());
        }
    }

    /// Adds the error of a failed `result` and returns the value of a successful one.
    pub fn collect<T, E: Into<anyhow::Error>>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(format!("{:#}", error.into()));
                None
            }
        }
    }

    /// Whether there is no error.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Runs `check` and joins its errors.
    ///
    /// # Errors
    /// When there is an error: all of them, one per line.
    pub fn result_of(check: impl FnOnce(&mut Self)) -> anyhow::Result<()> {
        let mut faults = Self::default();
        check(&mut faults);
        anyhow::ensure!(faults.is_empty(), "{}", faults.0.join("\n"));
        Ok(())
    }
}

/// Checks that the parser of a single setting cannot make: checks of several settings together, and of the files that they name.
pub trait Check {
    /// Adds the errors to `faults`. Connects to no server.
    fn check(&self, faults: &mut Faults);
}
