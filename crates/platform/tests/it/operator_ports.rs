//! The admin port and the probe port.

use axum::Router;
use axum::routing::post;
use clap::Parser;
use platform::Health;
use platform::config::OperatorArgs;
use platform::http::OperatorPorts;
use reqwest::{Client, StatusCode};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Ports with these flags, which answer until the token is cancelled.
async fn open(flags: &[&str], health: &Health) -> anyhow::Result<(OperatorPorts, CancellationToken)> {
    let Program { operator } = Program::parse_from([&["program"], flags].concat());
    let admin_routes = Router::new().route("/redrive", post(|| async { "done" }));
    Ok((OperatorPorts::open(&operator, health, admin_routes).await?, CancellationToken::new()))
}

#[tokio::test]
async fn the_probe_port_has_health_and_metrics_and_nothing_else() {
    let health = Health::default().with("bus", || async { Err::<(), _>("unreachable") });
    let flags = ["--admin-addr", "127.0.0.1:0", "--probe-addr", "127.0.0.1:0"];
    let (ports, stop) = open(&flags, &health).await.unwrap();
    let (admin, probe) = (ports.admin_addr().unwrap(), ports.probe_addr().unwrap());
    let serving = tokio::spawn(ports.serve(stop.clone()));
    let client = Client::builder().no_proxy().build().unwrap();
    let send = async |address, path| client.get(format!("http://{address}{path}")).send().await.unwrap();
    let get = async |address, path| send(address, path).await.status();
    assert_eq!(get(probe, "/healthz").await, StatusCode::OK);
    assert_eq!(get(probe, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(admin, "/metrics").await, StatusCode::OK);
    let metrics = send(probe, "/metrics").await.text().await.unwrap();
    let version = format!("sightline_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(metrics.lines().any(|line| line == version), "{version} is not in\n{metrics}");
    let redrive = async |address| client.post(format!("http://{address}/redrive")).send().await.unwrap().status();
    assert_eq!(redrive(admin).await, StatusCode::OK);
    assert_eq!(redrive(probe).await, StatusCode::NOT_FOUND);
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_probe_port_is_off_by_default() {
    let (ports, _) = open(&["--admin-addr", "off"], &Health::default()).await.unwrap();
    assert!(ports.admin_addr().is_none() && ports.probe_addr().is_none());
}

#[tokio::test]
async fn a_probe_port_in_use_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = ["--admin-addr", "off", "--probe-addr", &address];
    let error = open(&flags, &Health::default()).await.err().unwrap().to_string();
    assert!(error.contains("SIGHTLINE_PROBE_ADDR") && error.contains("in use"), "{error}");
}
