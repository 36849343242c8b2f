//! Kafka and MongoDB for this run alone, because it kills them, and PostgreSQL and Redis for accounts. `scripts/servers` starts them.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::plan::Program;

/// The servers. They stop when this is dropped.
pub struct Servers {
    state: tempfile::TempDir,
    variables: HashMap<String, String>,
}

impl Servers {
    /// Starts them; the broker sends its clients through the relays on these ports.
    pub fn start(relays: &[u16]) -> Self {
        let mut servers = Self { state: tempfile::tempdir().unwrap(), variables: HashMap::new() };
        let relays: Vec<String> = relays.iter().map(u16::to_string).collect();
        servers.command(&["start", "kafka", "mongodb", "postgres", "redis"], &relays.join(" "));
        let variables = servers.command(&["env"], "");
        let pairs = variables.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        servers.variables = pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect();
        servers
    }

    fn command(&self, arguments: &[&str], relays: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers");
        let done = Command::new(script)
            .args(arguments)
            .env("SIGHTLINE_TEST_SERVERS_STATE", self.state.path())
            .env("SIGHTLINE_TEST_KAFKA_RELAYS", relays)
            // The servers keep inherited descriptors, so a pipe would never close.
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Address of the broker, without a relay.
    pub fn brokers(&self) -> &str {
        &self.variables["SIGHTLINE_TEST_KAFKA_BROKERS"]
    }

    /// The broker's port behind a relay.
    pub fn behind(&self, relay: u16) -> u16 {
        let pairs = self.variables["SIGHTLINE_TEST_KAFKA_RELAYED"].split(' ');
        let find = |pair: &str| pair.strip_prefix(&format!("{relay}=")).map(|port| port.parse().unwrap());
        pairs.into_iter().find_map(find).unwrap()
    }

    /// Settings of the accounts' servers.
    pub fn accounts(&self) -> [(&'static str, String); 2] {
        [
            ("SIGHTLINE_DATABASE_URL", self.variables["SIGHTLINE_TEST_DATABASE_URL"].clone()),
            ("SIGHTLINE_REDIS_URL", self.variables["SIGHTLINE_TEST_REDIS_URL"].clone()),
        ]
    }

    /// mongod's port.
    pub fn mongodb(&self) -> u16 {
        let uri = &self.variables["SIGHTLINE_TEST_MONGODB_URI"];
        uri.split(':').next_back().and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap()
    }

    /// Sends a server a signal.
    pub fn signal(&self, server: Program, signal: &str) {
        let file = self.state.path().join(format!("{}.pid", server.name()));
        let pid = std::fs::read_to_string(file).unwrap();
        let pid = pid.split(' ').next().unwrap();
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    }

    /// Restarts a server on its data and waits until it is ready.
    pub fn restart(&self, server: Program) {
        self.command(&["restart", server.name()], "");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // A stopped process does not receive SIGTERM.
        for server in [Program::Kafka, Program::Mongodb] {
            self.signal(server, "-CONT");
        }
        self.command(&["stop"], "");
    }
}
