//! What `up` says: what it runs on, and, when everything is ready, three lines to try.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use platform::Health;
use platform::http::Listener;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Backends, Up};

/// What to say once everything is ready.
pub struct Greeting {
    /// Where clients find it.
    url: String,
    admin: Option<SocketAddr>,
    token_file: Option<PathBuf>,
    runs_on: Vec<(&'static str, String)>,
    /// How this program was called, for the commands to try.
    program: String,
    /// What those commands need to find this server and its token.
    options: String,
    /// What they and curl need for TLS.
    tls: &'static str,
}

impl Up {
    pub(super) fn greeting(
        &self,
        public: &Listener,
        admin: Option<&TcpListener>,
        backends: &Backends,
    ) -> anyhow::Result<Greeting> {
        let runs_on = vec![
            ("log", backends.bus.describe()),
            ("documents", backends.documents.describe()),
            ("images", backends.blobs.describe()),
            (
                "accounts",
                format!("{}; limits and sessions {}", backends.directory.database.describe(), backends.limits),
            ),
            ("detectors", self.detectors()?),
        ];
        Ok(Greeting {
            url: public.url()?,
            admin: admin.map(TcpListener::local_addr).transpose()?,
            token_file: backends.token_file.clone(),
            runs_on,
            program: std::env::args().next().unwrap_or_else(|| "sightline".to_owned()),
            options: self.client_options(&public.url()?),
            tls: self.tls_options(),
        })
    }
}

impl Up {
    /// The flags that a client of this server needs, where it is not in the usual place.
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

    /// The flags that a client needs for TLS, the same for ours and for curl; the files are the client's own.
    fn tls_options(&self) -> &'static str {
        match (&self.http.tls_cert, &self.http.tls_client_ca) {
            (None, _) => "",
            (Some(_), None) => " --cacert CA.pem",
            (Some(_), Some(_)) => " --cacert CA.pem --cert CLIENT.pem --key CLIENT.key",
        }
    }

    /// Each detector with its model and what that runs on. Fails where a model is missing: better now than after the start.
    fn detectors(&self) -> anyhow::Result<String> {
        let models = &self.worker.models;
        let (registry, folder) = (models.registry()?, models.dir());
        let provider = models.execution_provider.to_possible_value();
        let provider = provider.as_ref().map_or("?", PossibleValue::get_name);
        let mut parts = Vec::new();
        for detector in &self.common.detectors {
            let model = registry.chosen(detector, &folder)?;
            let place = model.weights().map_or("elsewhere", |weights| &weights.file);
            parts.push(format!("{detector}: {} ({place}) on {provider}", model.name));
        }
        Ok(parts.join(", "))
    }
}

impl Greeting {
    /// Prints what everything runs on; then waits until every check passes and prints what to try.
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
