//! The folder of the embedded parts, and the admin's token in it.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

/// The argument that names the data folder.
#[derive(Debug, Clone, Args)]
pub struct DataDir {
    /// Folder of the embedded parts and of the admin's token [default: ~/.local/share/sightline]
    #[arg(long, env = "SIGHTLINE_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

/// Exists in a data folder while a backup is restored into it.
pub const RESTORE_MARK: &str = ".restoring";

/// From now on, this process creates files and folders that only its user can access: databases, log, images and backups have
/// signing keys and private data, also in a folder that others may list.
pub fn create_private_files() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

impl DataDir {
    /// The folder, if it is not the default.
    pub fn chosen(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The folder, whether or not it exists.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.data_dir {
            // A URL of the image store and the messages need the whole path.
            return std::path::absolute(path).with_context(|| format!("SIGHTLINE_DATA_DIR: {}", path.display()));
        }
        let base = user_data(|name| std::env::var_os(name));
        let base = base.context("SIGHTLINE_DATA_DIR is not set and there is no home folder; set it to a folder")?;
        Ok(base.join("sightline"))
    }

    /// The folder; created if it does not exist, accessible to this user only.
    pub fn create(&self) -> anyhow::Result<PathBuf> {
        let path = self.path()?;
        if path.exists() && !path.is_dir() {
            anyhow::bail!(
                "SIGHTLINE_DATA_DIR: {} is a file; set it to a folder, or to a path that does not exist",
                path.display()
            );
        }
        if path.join(RESTORE_MARK).exists() {
            anyhow::bail!(
                "SIGHTLINE_DATA_DIR: a restore into {} runs or was interrupted; empty the folder and run `sightline restore` again",
                path.display()
            );
        }
        // Images and documents are private to this user.
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|error| unusable(&path, &error))?;
        let probe = path.join(".writable");
        std::fs::write(&probe, []).map_err(|error| unusable(&path, &error))?;
        std::fs::remove_file(&probe).map_err(|error| unusable(&path, &error))?;
        Ok(path)
    }
}

/// The user's folder for data (XDG Base Directory Specification): `XDG_DATA_HOME`, else `.local/share` in `HOME`. An empty variable
/// means that it is not set; a relative `XDG_DATA_HOME` is invalid and ignored.
fn user_data(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = path("XDG_DATA_HOME").filter(|path| path.is_absolute());
    data.or_else(|| Some(path("HOME")?.join(".local/share")))
}

fn unusable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "SIGHTLINE_DATA_DIR: {} cannot be written: {error}; set it to a folder that this user can write to",
        path.display()
    )
}

/// Checks that a part is there, so that another folder is not taken for a data folder.
pub fn check_part(folder: &Path, part: &Path) -> anyhow::Result<()> {
    if part.exists() {
        return Ok(());
    }
    anyhow::bail!(
        "{} does not exist, so {} is not the data folder of a `sightline up`; name it with --data-dir, and the servers \
         that are used instead with their settings",
        part.display(),
        folder.display()
    )
}

/// The file with the admin's API token.
pub fn token_file(folder: &Path) -> PathBuf {
    folder.join("admin.token")
}

/// The admin token of this folder; generated on the first call.
pub fn admin_token(folder: &Path) -> anyhow::Result<String> {
    let path = token_file(folder);
    match std::fs::read_to_string(&path) {
        Ok(token) => return Ok(token.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => anyhow::bail!("{} cannot be read: {error}", path.display()),
    }
    let token = accounts::generate_token();
    // Writes a new file and renames it, so that a crash leaves no partial token.
    let temporary = folder.join(".admin.token.new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| writeln!(file, "{token}").and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, &path));
    written.with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_empty_or_relative_data_folder_is_ignored() {
        for (xdg, home, expected) in [
            ("/data", "/home/ann", Some("/data")),
            ("", "/home/ann", Some("/home/ann/.local/share")),
            ("data", "/home/ann", Some("/home/ann/.local/share")),
            ("", "", None),
        ] {
            let variable = |name: &str| Some(if name == "HOME" { home } else { xdg }.into());
            assert_eq!(user_data(variable), expected.map(PathBuf::from), "{xdg:?} {home:?}");
        }
    }

    #[test]
    fn the_token_is_generated_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let token = admin_token(folder.path()).unwrap();
        assert_eq!(admin_token(folder.path()).unwrap(), token);
        let mode = std::fs::metadata(token_file(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
