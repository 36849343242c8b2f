//! All services, each in its own process and behind its own relays, and their servers. Injects the faults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contracts::Topics;
use tokio_util::task::AbortOnDropHandle;

use crate::plan::{Fault, Link, NetworkFault, Program};
use crate::processes::{Process, free_port, program, wait_until_ready};
use crate::relay::Relay;
use crate::servers::Servers;

/// Delay before the supervisor restarts a service that ended by itself.
const SUPERVISION: Duration = Duration::from_millis(250);

/// The running services and servers.
pub struct TestDeployment {
    pub servers: Arc<Servers>,
    pub topics: Topics,
    pub token: String,
    /// ingest-api and alert-stream.
    pub url: String,
    pub alerts_url: String,
    relays: BTreeMap<Link, Relay>,
    services: Arc<Mutex<BTreeMap<Program, Service>>>,
    supervisor: AbortOnDropHandle<()>,
}

/// A service under the supervisor.
struct Service {
    process: Process,
    /// A fault killed it and will restart it; the supervisor must not.
    is_killed: bool,
    /// Number of times it ended by itself.
    ended: u32,
}

impl TestDeployment {
    /// Starts everything, with its files in `folder`, and waits until it is ready.
    pub async fn start(folder: &Path, seed: u64) -> Self {
        let mut bound = BTreeMap::new();
        for link in Link::ALL {
            bound.insert(link, Relay::bind().await);
        }
        let to_kafka: Vec<u16> =
            bound.iter().filter(|(link, _)| link.server == Program::Kafka).map(|(_, (relay, _))| relay.port).collect();
        let servers = tokio::task::spawn_blocking(move || Servers::start(&to_kafka)).await.unwrap();
        let mut relays = BTreeMap::new();
        for (number, (link, (relay, listener))) in (1..).zip(bound) {
            let client = if link.server == Program::Kafka { servers.behind(relay.port) } else { servers.mongodb() };
            relay.forward_to(listener, client, seed ^ number);
            relays.insert(link, relay);
        }
        let settings = Settings::new(folder, &servers);
        let (port, alerts_port) = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let start = |service: Program| {
            let mut own = settings.of(service, &relays);
            match service {
                Program::Ingest => {
                    own.push(("SIGHTLINE_HTTP_ADDR", format!("127.0.0.1:{port}")));
                    own.push(("SIGHTLINE_ALERT_STREAM_URL", url(alerts_port)));
                }
                Program::Alerts => own.push(("SIGHTLINE_HTTP_ADDR", format!("127.0.0.1:{alerts_port}"))),
                _ => {}
            }
            let log = folder.join(format!("{}.log", service.name()));
            let process = Process::start(&program(service.name()), &[], &own, &log);
            (service, Service { process, is_killed: false, ended: 0 })
        };
        let mut services: BTreeMap<Program, Service> = Program::SERVICES.into_iter().map(start).collect();
        wait_until_ready(&mut services.get_mut(&Program::Alerts).unwrap().process, &url(alerts_port)).await;
        wait_until_ready(&mut services.get_mut(&Program::Ingest).unwrap().process, &url(port)).await;
        let services = Arc::new(Mutex::new(services));
        Self {
            servers: Arc::new(servers),
            topics: settings.topics,
            token: settings.token,
            url: url(port),
            alerts_url: url(alerts_port),
            relays,
            supervisor: AbortOnDropHandle::new(tokio::spawn(supervise(services.clone()))),
            services,
        }
    }

    /// Injects a fault and waits for its end; returns when it ended.
    pub async fn inject(&self, fault: Fault) -> Instant {
        match fault {
            Fault::Kill(service, down) if Program::SERVICES.contains(&service) => {
                self.kill(&[service]);
                tokio::time::sleep(down).await;
                self.restart(&[service])
            }
            Fault::KillAll(down) => {
                self.kill(&Program::SERVICES);
                tokio::time::sleep(down).await;
                self.restart(&Program::SERVICES)
            }
            Fault::Kill(server, down) => {
                self.servers.signal(server, "-KILL");
                tokio::time::sleep(down).await;
                let servers = self.servers.clone();
                tokio::task::spawn_blocking(move || servers.restart(server)).await.unwrap();
                Instant::now()
            }
            Fault::Stop(program, still) => {
                self.signal(program, "-STOP");
                tokio::time::sleep(still).await;
                self.signal(program, "-CONT");
                Instant::now()
            }
            Fault::Network(link, network_fault, lasts) => {
                self.relays[&link].set(Some(network_fault));
                tokio::time::sleep(lasts).await;
                if network_fault != NetworkFault::HalfOpen {
                    self.relays[&link].set(None);
                }
                Instant::now()
            }
        }
    }

    fn kill(&self, services: &[Program]) {
        for service in services {
            let mut all = lock(&self.services);
            let service = all.get_mut(service).unwrap();
            service.is_killed = true;
            service.process.kill();
        }
    }

    fn restart(&self, services: &[Program]) -> Instant {
        let now = Instant::now();
        for service in services {
            let mut all = lock(&self.services);
            let service = all.get_mut(service).unwrap();
            service.process.restart();
            service.is_killed = false;
        }
        now
    }

    fn signal(&self, program: Program, signal: &str) {
        match lock(&self.services).get(&program) {
            Some(service) => service.process.signal(signal),
            None => self.servers.signal(program, signal),
        }
    }

    /// Stops every service; returns how often each had ended by itself.
    pub async fn stop(&self) -> BTreeMap<Program, u32> {
        self.supervisor.abort();
        let services = self.services.clone();
        let stop = |(program, service): (&Program, &mut Service)| {
            assert!(service.process.stop(), "{}", service.process.output());
            (*program, service.ended)
        };
        // On a blocking thread, because the services need the relays until they have stopped.
        tokio::task::spawn_blocking(move || lock(&services).iter_mut().map(stop).collect()).await.unwrap()
    }
}

/// Restarts services that ended by themselves, as an orchestrator does.
async fn supervise(services: Arc<Mutex<BTreeMap<Program, Service>>>) {
    loop {
        tokio::time::sleep(SUPERVISION).await;
        for (program, service) in lock(&services).iter_mut() {
            if !service.is_killed && service.process.has_ended() {
                println!("{} ended by itself and is started again", program.name());
                service.ended += 1;
                service.process.restart();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settings of the services.
struct Settings {
    folder: PathBuf,
    topics: Topics,
    token: String,
    mongodb: u16,
    accounts: [(&'static str, String); 2],
}

impl Settings {
    /// Creates the topics with `sightline topics apply`.
    fn new(folder: &Path, servers: &Servers) -> Self {
        let file = folder.join("topics.yaml");
        std::fs::write(&file, contracts::topics::DEFAULT.replace("partitions: 12", "partitions: 4")).unwrap();
        let own = [
            ("SIGHTLINE_KAFKA_BROKERS", servers.brokers().to_owned()),
            ("SIGHTLINE_TOPICS_FILE", file.to_str().unwrap().to_owned()),
        ];
        let mut apply = Process::start(&program("sightline"), &["topics", "apply"], &own, &folder.join("topics.log"));
        assert!(apply.wait_success(), "{}", apply.output());
        let accounts = servers.accounts();
        let log = folder.join("migrate.log");
        let mut migrate = Process::start(&program("sightline"), &["migrate"], &accounts, &log);
        assert!(migrate.wait_success(), "{}", migrate.output());
        let topics = Topics::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let token = format!("token-{}", uuid::Uuid::now_v7().simple());
        Self { folder: folder.to_owned(), topics, token, mongodb: servers.mongodb(), accounts }
    }

    fn of(&self, service: Program, relays: &BTreeMap<Link, Relay>) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let port = |server| relays.get(&Link { service, server }).map_or(self.mongodb, |relay| relay.port);
        let own = vec![
            ("SIGHTLINE_KAFKA_BROKERS", format!("127.0.0.1:{}", port(Program::Kafka))),
            // Otherwise the driver would get the address from the replica set and bypass the relay.
            ("SIGHTLINE_MONGODB_URI", format!("mongodb://127.0.0.1:{}/?directConnection=true", port(Program::Mongodb))),
            ("SIGHTLINE_KAFKA_INSTANCE", format!("{}-1", service.name())),
            ("SIGHTLINE_TOPICS_FILE", path("topics.yaml")),
            ("SIGHTLINE_BLOB_URL", format!("file://{}", path("blobs"))),
            ("SIGHTLINE_WORKER_STATE_DIR", path("worker")),
            ("SIGHTLINE_ADMIN_TOKEN", self.token.clone()),
            ("SIGHTLINE_ADMIN_ADDR", format!("127.0.0.1:{}", free_port())),
        ];
        [own, self.accounts.to_vec()].concat()
    }
}
