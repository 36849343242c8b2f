//! The program `camera`, which reads videos and live cameras. It alone links FFmpeg, so it is a program of its own, and a machine
//! without FFmpeg runs everything else.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, bail};

/// The second one is for folders in which `camera` may be something else, such as a clone of this repository.
const NAMES: [&str; 2] = ["camera", "sightline-camera"];
/// Exit status of a program whose shared libraries are missing.
const LIBRARIES_MISSING: i32 = 127;

/// The path of the program: beside this one, or in a folder of `PATH`.
///
/// # Errors
/// When it is missing. The message says how to get it.
pub fn find() -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("the folder of this program is unknown")?;
    let beside = own.parent().map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = beside.into_iter().chain(env::split_paths(&path));
    let in_folder = |folder: PathBuf| NAMES.map(|name| folder.join(name)).into_iter().find(|program| program.is_file());
    let found = folders.find_map(in_folder);
    found.context(
        "videos and live cameras need the program `sightline-camera`, which is neither beside this program nor in PATH; where FFmpeg's \
         libraries can be installed (on Debian libavformat-dev, libavcodec-dev, libswscale-dev, libavutil-dev, clang), `make build` makes it in the clone",
    )
}

/// Fails if the program could not start, because the libraries that it was built with are not on this machine.
///
/// # Errors
/// See above. The line before names the first library.
pub fn check_libraries(status: ExitStatus) -> anyhow::Result<()> {
    if status.code() == Some(LIBRARIES_MISSING) {
        bail!(
            "the program `camera` needs FFmpeg's libraries; install them (on Debian 12 libavformat59, libavcodec59, libswscale6, libavutil57)"
        );
    }
    Ok(())
}
