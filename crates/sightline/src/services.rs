//! Services under their own names: an image has this program once, and links to it called `indexer`, and so on, instead of several
//! copies of the same crates.

use std::path::Path;
use std::process::ExitCode;

/// Runs the service after which this program was called, if there is one.
pub fn run_as_called() -> Option<ExitCode> {
    let called = std::env::args_os().next()?;
    match Path::new(&called).file_name()?.to_str()? {
        "alert-stream" => Some(alert_stream::program::main()),
        "audio-worker" => Some(audio_worker::program::main()),
        "detector-worker" => Some(detector_worker::program::main()),
        "faces" => Some(faces::program::main()),
        "indexer" => Some(indexer::program::main()),
        "ingest-api" => Some(ingest_api::program::main()),
        "shop-api" => Some(shop_api::program::main()),
        _ => None,
    }
}
