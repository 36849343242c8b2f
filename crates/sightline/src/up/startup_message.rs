//! What `up` prints: the implementation of each dependency and, when everything is ready, three commands to try.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use platform::Health;
use platform::http::Listener;
use tokio_util::sync::CancellationToken;

use super::{Dependencies, Up};

/// The text printed at the start and when everything is ready.
pub struct StartupMessage {
    /// Address for clients.
    url: String,
    admin: Option<SocketAddr>,
    token_file: Option<PathBuf>,
    runs_on: Vec<(&'static str, String)>,
    /// Name under which this program was called, for the commands to try.
    program: String,
    /// Flags that those commands need to find this server and its token.
    options: String,
    /// Flags that those commands and curl need for TLS.
    tls: &'static str,
}

impl Up {
    pub(super) fn startup_message(
        &self,
        public: &Listener,
        admin: Option<SocketAddr>,
        dependencies: &Dependencies,
    ) -> anyhow::Result<StartupMessage> {
        let runs_on = vec![
            ("log", dependencies.bus.describe()),
            ("documents", dependencies.documents.describe()),
            ("images", dependencies.blobs.describe()),
            (
                "accounts",
                format!(
                    "{}; limits and sessions {}",
                    dependencies.accounts_service.describe_database(),
                    dependencies.limits
                ),
            ),
            ("detectors", self.detectors()?),
        ];
        Ok(StartupMessage {
            url: public.url()?,
            admin,
            token_file: dependencies.token_file.clone(),
            runs_on,
            program: std::env::args().next().unwrap_or_else(|| "sightline".to_owned()),
            options: self.client_options(&public.url()?),
            tls: self.tls_options(),
        })
    }
}

impl Up {
    /// The flags that a client needs when address or data folder are not the defaults.
    fn client_options(&self, url: &str) -> String {
        let mut options = String::new();
        if url != "http://127.0.0.1:8080" {
            options += &format!(" --server {url}");
        }
        if let Some(folder) = self.data_dir.chosen() {
            options += &format!(" --data-dir {}", folder.display());
        }
        options
    }

    /// The flags that a client needs for TLS; curl has the same ones. The files are those of the client.
    fn tls_options(&self) -> &'static str {
        match (&self.http.tls_cert, &self.http.tls_client_ca) {
            (None, _) => "",
            (Some(_), None) => " --cacert CA.pem",
            (Some(_), Some(_)) => " --cacert CA.pem --cert CLIENT.pem --key CLIENT.key",
        }
    }

    /// Each detector with its model and execution provider. Fails if a model is missing, before the services start.
    fn detectors(&self) -> anyhow::Result<String> {
        let models = &self.worker.models;
        let (registry, folder) = (models.registry()?, models.dir());
        let provider = models.execution_provider.to_possible_value();
        let provider = provider.as_ref().map_or("?", PossibleValue::get_name);
        let mut parts = Vec::new();
        for detector in &self.frames.detectors {
            let model = registry.chosen(detector, &folder)?;
            let place = model.weights().map_or("elsewhere", |weights| &weights.file);
            parts.push(format!("{detector}: {} ({place}) on {provider}", model.name));
        }
        Ok(parts.join(", "))
    }
}

impl StartupMessage {
    /// Prints the dependencies; then waits until every health check passes and prints the commands to try.
    pub async fn when_ready(self, health: Health, stop: CancellationToken) -> anyhow::Result<()> {
        for (concern, backend) in &self.runs_on {
            println!("{concern:>10}  {backend}");
        }
        let ready = async {
            while health.run().await.iter().any(|(_, result)| result.is_err()) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = ready => self.print(),
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    fn print(&self) {
        let url = &self.url;
        println!("{:>10}  {url}  (documentation: {url}/docs)", "API");
        if let Some(admin) = self.admin {
            println!("{:>10}  http://{admin}  (health, metrics)", "operator");
        }
        let token = match &self.token_file {
            Some(file) => format!("$(cat {})", file.display()),
            None => "$SIGHTLINE_ADMIN_TOKEN".to_owned(),
        };
        println!("\nready; try, in another terminal:");
        let Self { program, options, tls, .. } = self;
        println!("  {program} watch{options}{tls}");
        println!("  {program} push photo.jpg{options}{tls}");
        println!("  curl{tls} -H \"Authorization: Bearer {token}\" {url}/v1/detections");
    }
}
