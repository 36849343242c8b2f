//! The command under the name of a service is that service, as in the container image.

use std::process::Command;

#[test]
fn a_link_with_the_name_of_a_service_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["alert-stream", "audio-worker", "detector-worker", "faces", "indexer", "ingest-api", "shop-api"] {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sightline"), &link).unwrap();
        let output = Command::new(link).arg("--version").env_clear().output().unwrap();
        let expected = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
