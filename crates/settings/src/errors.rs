//! The errors of the settings, reported together instead of one after the other.

/// Errors of settings. Each names its setting and says which values are valid.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SettingErrors(Vec<String>);

impl SettingErrors {
    /// Adds an error.
    pub fn add(&mut self, error: impl Into<String>) {
        self.0.push(error.into());
    }

    /// Adds an error unless `condition` is true.
    pub fn ensure(&mut self, condition: bool, error: impl FnOnce() -> String) {
        if !condition {
            self.add(error());
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
        let mut errors = Self::default();
        check(&mut errors);
        anyhow::ensure!(errors.is_empty(), "{}", errors.0.join("\n"));
        Ok(())
    }
}

/// Checks that the parser of a single setting cannot make: checks of several settings together, and of the files that they name.
pub trait Check {
    /// Adds what it finds to `errors`. Connects to no server.
    fn check(&self, errors: &mut SettingErrors);
}
