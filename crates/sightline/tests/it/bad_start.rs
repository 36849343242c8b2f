//! Every mistake at the start gets one line that names the setting and the remedy, and a non-zero exit code.

use std::process::Command;

use crate::processes::free_port;

/// Runs `up` until it fails; returns its standard error.
fn refused(settings: &[(&str, &str)]) -> String {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_sightline"), "up"]).env_clear();
    for name in ["PATH", "HOME", "SIGHTLINE_ORT_DYLIB_PATH", "SIGHTLINE_MODELS_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("SIGHTLINE_DATA_DIR", data.path().join("data"))
        .env("SIGHTLINE_HTTP_ADDR", format!("127.0.0.1:{}", free_port()))
        .env("SIGHTLINE_ADMIN_ADDR", "off")
        .env("SIGHTLINE_GRPC_ADDR", "off")
        .envs(settings.iter().copied());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    assert!(code.is_some_and(|code| code != 0 && code != 124), "{settings:?} ended with {code:?}: {stderr}");
    stderr
}

/// The line with the error.
fn error_line(stderr: &str) -> &str {
    let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "not one error line: {stderr}");
    lines[0]
}

#[test]
fn a_folder_of_uploads_that_is_not_there_is_named() {
    let stderr = refused(&[("SIGHTLINE_FACES_UPLOADS_DIR", "/nowhere/uploads")]);
    let line = error_line(&stderr);
    assert!(line.contains("SIGHTLINE_FACES_UPLOADS_DIR") && line.contains("/nowhere/uploads"), "{line}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in ["SIGHTLINE_HTTP_ADDR", "SIGHTLINE_GRPC_ADDR"] {
        let stderr = refused(&[(name, &address)]);
        let line = error_line(&stderr);
        assert!(line.contains(name) && line.contains("in use"), "{line}");
    }
}

#[test]
fn an_incomplete_pair_and_an_invalid_origin_are_named() {
    let stderr = refused(&[("SIGHTLINE_TLS_CERT", "/nowhere/server.pem")]);
    assert!(error_line(&stderr).contains("SIGHTLINE_TLS_KEY is not set"), "{stderr}");
    let stderr =
        refused(&[("SIGHTLINE_TLS_CERT", "/nowhere/server.pem"), ("SIGHTLINE_TLS_KEY", "/nowhere/server.key")]);
    assert!(error_line(&stderr).contains("SIGHTLINE_TLS_CERT: cannot read /nowhere/server.pem"), "{stderr}");
    let stderr = refused(&[("SIGHTLINE_CORS_ORIGINS", "app.example.com")]);
    assert!(error_line(&stderr).contains("SIGHTLINE_CORS_ORIGINS"), "{stderr}");
}

#[test]
fn comparing_the_faces_of_frames_where_search_is_off_is_refused() {
    let stderr = refused(&[("SIGHTLINE_FACES_LIVE", "on"), ("SIGHTLINE_FACES_SEARCH", "off")]);
    assert!(error_line(&stderr).contains("SIGHTLINE_FACES_LIVE: SIGHTLINE_FACES_SEARCH=off"), "{stderr}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("data");
    let stderr = refused(&[("SIGHTLINE_DATA_DIR", below.to_str().unwrap())]);
    assert!(error_line(&stderr).contains("SIGHTLINE_DATA_DIR"), "{stderr}");
}

#[test]
fn a_file_in_place_of_the_data_folder_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stderr = refused(&[("SIGHTLINE_DATA_DIR", file.path().to_str().unwrap())]);
    let line = error_line(&stderr);
    assert!(line.contains("SIGHTLINE_DATA_DIR") && line.contains("is a file"), "{line}");
}

#[test]
fn two_names_of_a_database_are_refused() {
    let closed_port = format!("mongodb://127.0.0.1:{}/one?replicaSet=rs0", free_port());
    let stderr = refused(&[("SIGHTLINE_MONGODB_URI", &closed_port), ("SIGHTLINE_MONGODB_DATABASE", "two")]);
    let line = error_line(&stderr);
    assert!(line.contains("SIGHTLINE_MONGODB_URI") && line.contains("SIGHTLINE_MONGODB_DATABASE"), "{line}");
}

#[test]
fn servers_that_cannot_be_reached_are_named() {
    let closed_port = format!("127.0.0.1:{}", free_port());
    let stderr = refused(&[("SIGHTLINE_KAFKA_BROKERS", &closed_port)]);
    assert!(error_line(&stderr).contains("SIGHTLINE_KAFKA_BROKERS"), "{stderr}");
    let uri = format!("mongodb://user:hidden@{closed_port}/?replicaSet=rs0");
    let stderr = refused(&[("SIGHTLINE_MONGODB_URI", &uri)]);
    assert!(error_line(&stderr).contains("SIGHTLINE_MONGODB_URI"), "{stderr}");
    assert!(!stderr.contains("hidden"), "{stderr}");
    let url = format!("postgres://user:hidden@{closed_port}/sightline");
    let stderr = refused(&[("SIGHTLINE_DATABASE_URL", &url)]);
    assert!(error_line(&stderr).contains("SIGHTLINE_DATABASE_URL"), "{stderr}");
    assert!(!stderr.contains("hidden"), "{stderr}");
}

#[test]
fn contradicting_account_settings_are_named() {
    for (key, value) in [
        ("SIGHTLINE_REDIS_URL", "http://user:hidden@host"),
        ("SIGHTLINE_DATABASE_URL", "mysql://user:hidden@host/db"),
        ("SIGHTLINE_SMTP_URL", "http://user:hidden@host"),
        ("SIGHTLINE_RESET_URL", "not an address"),
    ] {
        let stderr = refused(&[(key, value)]);
        let line = error_line(&stderr);
        assert!(line.contains(key) && !stderr.contains("hidden"), "{stderr}");
    }
}

#[test]
fn a_missing_model_names_its_folder_and_models_pull() {
    let empty = tempfile::tempdir().unwrap();
    let stderr =
        refused(&[("SIGHTLINE_MODELS_DIR", empty.path().to_str().unwrap()), ("SIGHTLINE_DETECTORS", "objects")]);
    let line = error_line(&stderr);
    assert!(line.contains("SIGHTLINE_MODELS_DIR"), "{line}");
    let command = line.split('`').find(|part| part.starts_with("sightline models pull")).unwrap();
    // The options of the hint exist, and name what is missing. `--help` keeps the network out of it.
    let arguments = command.split_whitespace().skip(1).chain(["--help"]);
    let output = Command::new(env!("CARGO_BIN_EXE_sightline")).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(command, format!("sightline models pull --detectors objects --models-dir {}", empty.path().display()));
}

#[test]
fn a_file_that_is_not_the_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["yunet_n_dynamic.onnx", "centerface.onnx"] {
        std::fs::write(folder.path().join(name), "not a model").unwrap();
    }
    let stderr = refused(&[("SIGHTLINE_MODELS_DIR", folder.path().to_str().unwrap())]);
    let line = error_line(&stderr);
    assert!(line.contains("yunet_n_dynamic.onnx") && line.contains("sightline models pull"), "{line}");
}

#[test]
fn a_file_that_is_not_onnx_runtime_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no library").unwrap();
    for path in [file.path().to_str().unwrap(), "/nowhere/libonnxruntime.so"] {
        let stderr = refused(&[("SIGHTLINE_ORT_DYLIB_PATH", path)]);
        assert!(error_line(&stderr).contains("SIGHTLINE_ORT_DYLIB_PATH"), "{stderr}");
    }
}

#[test]
fn another_programs_database_is_not_changed() {
    let data = tempfile::tempdir().unwrap();
    let foreign = data.path().join("documents.sqlite");
    let connection = rusqlite::Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE accounts (id INTEGER); INSERT INTO accounts VALUES (1)").unwrap();
    drop(connection);
    let before = std::fs::read(&foreign).unwrap();
    let stderr = refused(&[("SIGHTLINE_DATA_DIR", data.path().to_str().unwrap())]);
    assert!(error_line(&stderr).contains("documents.sqlite"), "{stderr}");
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
}

#[tokio::test]
async fn a_folder_that_another_process_uses_is_named() {
    let test = "a_folder_that_another_process_uses_is_named";
    if crate::processes::path_from_env(test, "SIGHTLINE_TEST_PHOTO").is_none() {
        return;
    }
    let up = crate::processes::TestServer::start(&[]).await;
    let stderr = refused(&[("SIGHTLINE_DATA_DIR", up.data.path().join("data").to_str().unwrap())]);
    let line = error_line(&stderr);
    assert!(line.contains("SIGHTLINE_DATA_DIR") && line.contains("another"), "{line}");
}

#[test]
fn a_service_alone_refuses_to_run_without_its_servers() {
    for service in ["ingest-api", "detector-worker", "indexer", "alert-stream"] {
        let output = Command::new(crate::processes::program(service)).env_clear().output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{service}");
        assert!(stderr.contains("SIGHTLINE_KAFKA_BROKERS is not set"), "{service}: {stderr}");
    }
}
