//! The user's cache folder, where models and libraries are.

use std::ffi::OsString;
use std::path::PathBuf;

/// The user's cache folder (XDG Base Directory Specification): `XDG_CACHE_HOME`, else `.cache` in `HOME`. An empty variable means
/// that it is not set; a relative `XDG_CACHE_HOME` is invalid and ignored.
pub fn user_cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = path("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    cache.or_else(|| Some(path("HOME")?.join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_relative_cache_folder_is_ignored() {
        for (xdg, home, expected) in [
            ("/cache", "/home/ann", Some("/cache")),
            ("", "/home/ann", Some("/home/ann/.cache")),
            ("cache", "/home/ann", Some("/home/ann/.cache")),
            ("", "", None),
        ] {
            let variable = |name: &str| Some(if name == "HOME" { home } else { xdg }.into());
            assert_eq!(user_cache(variable), expected.map(PathBuf::from), "{xdg:?} {home:?}");
        }
        assert_eq!(user_cache(|_| None), None);
    }
}
