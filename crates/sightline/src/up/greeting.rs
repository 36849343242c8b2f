//! What `up` says: what it runs on, and, when everything is ready, three lines to try.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use platform::Health;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Backends, Up};

/// What to say once everything is ready.
pub struct Greeting {
    public: SocketAddr,
    admin: Option<SocketAddr>,
    token_file: Option<PathBuf>,
    runs_on: Vec<(&'static str, String)>,
    /// How this program was called, for the commands to try.
    program: String,
    /// What those commands need to find this server and its token.
    options: String,
}

impl Up {
    pub(super) fn greeting(
        &self,
        public: &TcpListener,
        admin: Option<&TcpListener>,
        backends: &Backends,
    ) -> anyhow::Result<Greeting> {
        let runs_on = vec![
            ("log", backends.bus.describe()),
            ("documents", backends.documents.describe()),
            ("pictures", backends.blobs.describe()),
            (
                "accounts",
                format!("{}; limits and sessions {}", backends.directory.database.describe(), backends.limits),
            ),
            ("detectors", self.detectors()?),
        ];
        Ok(Greeting {
            public: public.local_addr()?,
            admin: admin.map(TcpListener::local_addr).transpose()?,
            token_file: backends.token_file.clone(),
            runs_on,
            program: std::env::args().next().unwrap_or_else(|| "sightline".to_owned()),
            options: self.client_options(public.local_addr()?),
        })
    }
}

impl Up {
    /// The flags that a client of this server needs, where it is not in the usual place.
    fn client_options(&self, public: SocketAddr) -> String {
        let mut options = String::new();
        if public != SocketAddr::from(([127, 0, 0, 1], 8080)) {
            options += &format!(" --server http://{public}");
        }
        if let Some(folder) = self.data_dir.chosen() {
            options += &format!(" --data-dir {}", folder.display());
        }
        options
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
        let url = format!("http://{}", self.public);
        println!("{:>10}  {url}  (documentation: {url}/docs)", "API");
        if let Some(admin) = self.admin {
            println!("{:>10}  http://{admin}  (health, metrics)", "operator");
        }
        let token = match &self.token_file {
            Some(file) => format!("$(cat {})", file.display()),
            None => "$SIGHTLINE_ADMIN_TOKEN".to_owned(),
        };
        println!("\nready; try, in another terminal:");
        println!("  {} watch{}", self.program, self.options);
        println!("  {} push photo.jpg{}", self.program, self.options);
        println!("  curl -H \"Authorization: Bearer {token}\" {url}/v1/detections");
    }
}
