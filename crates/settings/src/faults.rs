//! Everything that is wrong with the settings, reported together.

/// A list of faults. Each names its setting and says what would be right.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    /// Adds the fault unless `condition` holds.
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

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Runs `check` and turns its faults into one error.
    ///
    /// # Errors
    /// All faults, separated by line breaks.
    pub fn result_of(check: impl FnOnce(&mut Self)) -> anyhow::Result<()> {
        let mut faults = Self::default();
        check(&mut faults);
        anyhow::ensure!(faults.is_empty(), "{}", faults.0.join("\n"));
        Ok(())
    }
}

/// Checks that concern several settings, or files that they name.
pub trait Check {
    /// Adds what is wrong to `faults`. Connects to no server.
    fn check(&self, faults: &mut Faults);
}
