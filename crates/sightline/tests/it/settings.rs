//! The settings of all programs: their names, and `sightline config`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

const SIGHTLINE: &str = env!("CARGO_BIN_EXE_sightline");

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs `sightline config ARGUMENTS` in an empty folder.
fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(SIGHTLINE);
    command.arg("config").args(arguments).env_clear().current_dir(folder.path());
    command.envs(environment.iter().copied()).output().unwrap()
}

/// All variables that the `--help` of a program names.
fn named_by_help(program: &str) -> BTreeSet<String> {
    let output = Command::new(program).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let help = text(&output.stdout);
    let names = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    names.map(str::to_owned).collect()
}

/// The programs of the services. The camera program is not built where FFmpeg's libraries are missing.
fn services() -> Vec<&'static str> {
    let mut services = vec!["ingest-api", "detector-worker", "indexer", "alert-stream"];
    if Path::new(&crate::processes::program("camera")).exists() {
        services.push("camera");
    } else {
        eprintln!("skipped: settings of the camera program: it is not built, because FFmpeg's libraries are missing");
    }
    services
}

/// `UPDATE_GOLDEN=1` writes the file.
#[test]
fn known_settings_are_those_of_all_programs() {
    let keys = text(&config(&["keys"], &[]).stdout);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../settings/src/known.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &keys).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, keys, "{} is out of step; UPDATE_GOLDEN=1 writes it", path.display());
    for service in services() {
        let unknown: Vec<String> = named_by_help(&crate::processes::program(service))
            .into_iter()
            .filter(|name| !keys.lines().any(|key| key == name))
            .collect();
        assert!(unknown.is_empty(), "{service} has settings that `sightline` does not have: {unknown:?}");
    }
}

#[test]
fn every_program_tells_its_version() {
    for name in services().into_iter().chain(["sightline"]) {
        let output = Command::new(crate::processes::program(name)).arg("--version").env_clear().output().unwrap();
        assert_eq!(text(&output.stdout), format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn config_check_lists_all_faults() {
    let environment = [
        ("SIGHTLINE_HTTP_ADRR", "127.0.0.1:80"),
        ("SIGHTLINE_BATCH_WAIT_MS", "soon"),
        ("SIGHTLINE_SMTP_URL_FILE", "/nowhere/smtp"),
        ("SIGHTLINE_TLS_CERT", "/nowhere/server.pem"),
        ("SIGHTLINE_RESET_URL", "not an address"),
        ("SIGHTLINE_ADMIN_TOKEN", "too short"),
        ("SIGHTLINE_KAFKA_PROPERTIES", "hunter2"),
        ("SIGHTLINE_LOG", "info,indexer=loud"),
        ("SIGHTLINE_OTLP_HEADERS", "hunter2"),
        ("SIGHTLINE_TRACES_SAMPLE_RATIO", "2"),
    ];
    let stderr = reported(&environment, &environment.map(|(key, _)| key));
    assert!(!stderr.contains("hunter2"), "{stderr}");
    assert!(stderr.contains("a filter such as `info`"), "{stderr}");
}

#[test]
fn config_check_refuses_an_address_of_a_collector_that_cannot_be_used() {
    let refused = |address| reported(&[("SIGHTLINE_OTLP_ENDPOINT", address)], &["SIGHTLINE_OTLP_ENDPOINT"]);
    for wrong in ["collector:4318", "grpc://collector:4317", "here"] {
        assert!(refused(wrong).contains("such as http://collector:4318"), "{wrong}");
    }
    for secret in ["http://user:hunter2@collector:4318", "http://collector:4318?token=hunter2"] {
        let stderr = refused(secret);
        assert!(stderr.contains("SIGHTLINE_OTLP_HEADERS") && !stderr.contains("hunter2"), "{stderr}");
    }
    assert!(refused("http://collector:4318/v1/traces").contains("leave out /v1/traces"));
    assert!(config(&["check"], &[("SIGHTLINE_OTLP_ENDPOINT", "https://collector.example/otlp/")]).status.success());
}

/// Checks that `config check` reports one fault for each of these settings. Returns all it says.
fn reported(environment: &[(&str, &str)], faulty: &[&str]) -> String {
    let output = config(&["check"], environment);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let faults: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(faults.len(), faulty.len(), "{stderr}");
    for key in faulty {
        assert!(faults.iter().any(|fault| fault.contains(key)), "{key}: {stderr}");
    }
    stderr
}

#[test]
fn config_check_warns_of_a_misspelt_log_level() {
    let output = config(&["check"], &[("SIGHTLINE_LOG", "debgu")]);
    let stderr = text(&output.stderr);
    assert!(output.status.success() && stderr.starts_with("warning: SIGHTLINE_LOG: \"debgu\""), "{stderr}");
    let output = config(&["check"], &[("SIGHTLINE_LOG", "debug,access=off")]);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn config_check_refuses_addresses_and_detectors_that_up_refuses() {
    let addresses = ["SIGHTLINE_HTTP_ADDR", "SIGHTLINE_ADMIN_ADDR", "SIGHTLINE_PROBE_ADDR", "SIGHTLINE_GRPC_ADDR"];
    for wrong in [":8080", "0.0.0.0:80801", "8080"] {
        let stderr = reported(&addresses.map(|key| (key, wrong)), &addresses);
        assert!(stderr.contains("such as 127.0.0.1:8080"), "{stderr}");
    }
    let stderr = reported(&[("SIGHTLINE_DETECTORS", "face,unicorn")], &["SIGHTLINE_DETECTORS"]);
    assert!(stderr.contains("there is no detector `unicorn`, only face"), "{stderr}");
    let valid = config(&["check"], &addresses.map(|key| (key, "localhost:8080")));
    assert!(valid.status.success(), "{}", text(&valid.stderr));
}

#[test]
fn config_check_refuses_addresses_of_servers_that_up_refuses() {
    let wrong = [
        ("SIGHTLINE_MONGODB_URI", "localhost:hidden@27017"),
        ("SIGHTLINE_DATABASE_URL", "mysql://user:hidden@host/db"),
        ("SIGHTLINE_REDIS_URL", "user:hidden@localhost:6379"),
        ("SIGHTLINE_KAFKA_BROKERS", "kafka://localhost:9092"),
    ];
    let stderr = reported(&wrong, &wrong.map(|(key, _)| key));
    assert!(!stderr.contains("hidden"), "{stderr}");
    for example in ["mongodb://host", "postgres://sightline", "redis://host", "host:port"] {
        assert!(stderr.contains(example), "{example}: {stderr}");
    }
    let flag = Command::new(env!("CARGO_BIN_EXE_sightline"))
        .args(["config", "check", "--redis-url", "user:hidden@localhost:6379"])
        .output()
        .unwrap();
    let stderr = text(&flag.stderr);
    assert!(!flag.status.success() && stderr.contains("--redis-url") && !stderr.contains("hidden"), "{stderr}");
    let right = [
        ("SIGHTLINE_MONGODB_URI", "mongodb+srv://user:pass@cluster.example/"),
        ("SIGHTLINE_DATABASE_URL", "POSTGRESQL://host/db"),
        ("SIGHTLINE_REDIS_URL", "rediss://host:6380"),
        ("SIGHTLINE_KAFKA_BROKERS", "one:9092, SASL_SSL://two:9092,"),
    ];
    let output = config(&["check"], &right);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn config_check_reports_each_wrong_openid_setting() {
    let (issuer, client) = (("SIGHTLINE_OIDC_ISSUER", "https://a.example"), ("SIGHTLINE_OIDC_CLIENT_ID", "web"));
    let wrong = [
        ("SIGHTLINE_OIDC_ISSUER", "http://a.example"),
        ("SIGHTLINE_OIDC_CALLBACK_URL", "sightline.example/callback"),
        ("SIGHTLINE_OIDC_RETURN_URLS", "https://app.example/#tokens"),
        ("SIGHTLINE_OIDC_CA", "/nowhere/ca.pem"),
    ];
    let stderr = reported(&[&[client][..], &wrong].concat(), &wrong.map(|(key, _)| key));
    assert!(stderr.contains("https://"), "it says what would be right: {stderr}");
    for (half, missing) in [(issuer, client.0), (client, issuer.0)] {
        assert!(reported(&[half], &[missing]).contains("set both or none"));
    }
    let alone = ("SIGHTLINE_OIDC_CLIENT_SECRET", "hunter2");
    assert!(!reported(&[alone], &[alone.0]).contains("hunter2"));
    let below_issuer = reported(&[issuer, client, ("SIGHTLINE_TOKEN_ISSUER", "here")], &["SIGHTLINE_TOKEN_ISSUER"]);
    assert!(below_issuer.contains("SIGHTLINE_OIDC_CALLBACK_URL"), "{below_issuer}");
    assert!(config(&["check"], &[issuer, client, alone]).status.success());
}

#[test]
fn config_check_accepts_valid_settings() {
    let output = config(&["check"], &[("SIGHTLINE_SESSION_DAYS", "90d"), ("SIGHTLINE_ALERT_STALL_SECONDS", "45")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn config_print_masks_secrets_and_names_sources() {
    let environment = [
        ("SIGHTLINE_ADMIN_TOKEN", "0123456789-0123456789-0123456789"),
        ("SIGHTLINE_KEEP_PICTURES", "off"),
        ("SIGHTLINE_DATABASE_URL", "postgres://ann:hunter2@host/db"),
        ("SIGHTLINE_OIDC_ISSUER", "https://a.example"),
        ("SIGHTLINE_OIDC_CLIENT_SECRET", "hunter2"),
        ("SIGHTLINE_OTLP_ENDPOINT", "http://collector:4318"),
        ("SIGHTLINE_OTLP_HEADERS", "authorization=Bearer hunter2"),
        ("SIGHTLINE_MEDIA_S3_SECRET_ACCESS_KEY", "hunter2"),
        ("SIGHTLINE_SHOP_CURRENCY", "USD"),
        ("SIGHTLINE_LOG", "warn,indexer=debug"),
    ];
    let output = config(&["print", "--http-addr", "[::1]:443"], &environment);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    let line = |key: &str| {
        let line = stdout.lines().find(|line| line.split(' ').next() == Some(key));
        line.unwrap_or_else(|| panic!("{key} is missing in {stdout}")).split_whitespace().skip(1).collect::<Vec<_>>()
    };
    assert_eq!(line("SIGHTLINE_HTTP_ADDR"), ["[::1]:443", "(flag)"]);
    assert_eq!(line("SIGHTLINE_ADMIN_TOKEN"), ["***", "(environment", "SIGHTLINE_ADMIN_TOKEN)"]);
    assert_eq!(line("SIGHTLINE_KEEP_IMAGES"), ["off", "(environment", "SIGHTLINE_KEEP_PICTURES)"]);
    assert_eq!(line("SIGHTLINE_RETENTION"), ["30d", "(default)"]);
    assert_eq!(line("SIGHTLINE_OIDC_ISSUER"), ["https://a.example", "(environment", "SIGHTLINE_OIDC_ISSUER)"]);
    assert_eq!(line("SIGHTLINE_OIDC_CLIENT_SECRET"), ["***", "(environment", "SIGHTLINE_OIDC_CLIENT_SECRET)"]);
    assert_eq!(line("SIGHTLINE_OTLP_HEADERS"), ["***", "(environment", "SIGHTLINE_OTLP_HEADERS)"]);
    assert_eq!(line("SIGHTLINE_TRACES_SAMPLE_RATIO"), ["1", "(default)"]);
    let key = ["***", "(environment", "SIGHTLINE_MEDIA_S3_SECRET_ACCESS_KEY)"];
    assert_eq!(line("SIGHTLINE_MEDIA_S3_SECRET_ACCESS_KEY"), key);
    assert_eq!(line("SIGHTLINE_SHOP_CURRENCY"), ["USD", "(environment", "SIGHTLINE_SHOP_CURRENCY)"]);
    assert_eq!(line("SIGHTLINE_GRPC_ADDR"), ["127.0.0.1:50051", "(default)"]);
    assert_eq!(line("SIGHTLINE_LOG"), ["warn,indexer=debug", "(environment", "SIGHTLINE_LOG)"]);
    assert_eq!(line("SIGHTLINE_MONGODB_URI"), ["-", "(default)"]);
    assert!(!stdout.contains("hunter2") && !stdout.contains("0123456789"), "{stdout}");
}
