//! The commands that `up` prints work when they are pasted into a shell.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::processes::{Process, TIMEOUT, free_port, path_from_env};

/// The printed commands, once the server is ready.
fn printed(up: &mut Process) -> Vec<String> {
    let begun = Instant::now();
    loop {
        up.assert_running();
        if let Some((_, after)) = up.output().split_once("ready; try, in another terminal:\n")
            && after.contains("curl")
        {
            let lines = after.lines().map_while(|line| line.strip_prefix("  "));
            return lines.filter(|line| !line.starts_with('(')).map(str::to_owned).collect();
        }
        assert!(begun.elapsed() < TIMEOUT, "{}", up.output());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Pastes a command with `more` behind it into a shell in this folder.
fn paste(line: &str, more: &str, folder: &Path, environment: &[(&str, &str)]) {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{line} {more}")]).current_dir(folder).env_clear().envs(environment.iter().copied());
    let output = shell.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line} {more}: {said}");
}

#[test]
fn printed_commands_work_when_pasted() {
    let test = "printed_commands_work_when_pasted";
    let Some(photo) = path_from_env(test, "SIGHTLINE_TEST_PHOTO") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(photo, folder.path().join("photo.jpg")).unwrap();
    let certs = folder.path().join("some certs");
    let program = env!("CARGO_BIN_EXE_sightline");
    let made = Command::new(program).args(["certs", "dev", "--out"]).arg(&certs).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let cert = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let token = "a-token-of-the-operator-with-32-bytes-or-more";
    let cases = [
        ("all addresses", vec![]),
        ("the operator's token", vec![("SIGHTLINE_ADMIN_TOKEN", token.to_owned())]),
        (
            "TLS",
            vec![
                ("SIGHTLINE_TLS_CERT", cert("server.pem")),
                ("SIGHTLINE_TLS_KEY", cert("server.key")),
                ("SIGHTLINE_TLS_CLIENT_CA", cert("ca.pem")),
            ],
        ),
    ];
    for (name, mut settings) in cases {
        let data = folder.path().join(name);
        settings.extend([
            ("SIGHTLINE_DATA_DIR", data.to_str().unwrap().to_owned()),
            ("SIGHTLINE_HTTP_ADDR", format!("0.0.0.0:{}", free_port())),
            ("SIGHTLINE_ADMIN_ADDR", "off".to_owned()),
            ("SIGHTLINE_GRPC_ADDR", "off".to_owned()),
        ]);
        let mut up = Process::start(program, &["up"], &settings, &folder.path().join(format!("{name}.log")));
        let lines = printed(&mut up);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(!up.output().contains(token), "{}", up.output());
        let environment = [("SIGHTLINE_ADMIN_TOKEN", token)];
        let environment = if name == "the operator's token" { &environment[..] } else { &[] };
        paste(&lines[1], "--no-wait", folder.path(), environment);
        paste(&lines[2], "--fail --silent --show-error --output /dev/null", folder.path(), environment);
        assert_eq!(lines[0].replace("watch", "push photo.jpg"), lines[1]);
    }
}
