//! nginx with the nchan module, as one foreground process in a temporary folder.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::mark;
use crate::child::{ChildProcess, free_port};

/// Messages that nchan keeps: the default size of alert-stream's window.
const KEPT: u32 = 10_000;

/// The child process.
pub struct Nchan {
    pub child: ChildProcess,
    pub address: String,
    publisher: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Nchan {
    /// Starts it for this many subscribers.
    pub async fn start(nginx: &Path, module: &Path, subscribers: u32) -> anyhow::Result<Self> {
        ensure!(module.exists(), "there is no {}; Debian's libnginx-mod-nchan has it", module.display());
        let folder = tempfile::tempdir().context("a folder for nginx")?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(module, &address, subscribers)).context("nginx's configuration")?;
        let [prefix, file] = [folder.path().to_str(), file.to_str()].map(Option::unwrap_or_default);
        let arguments = ["-p", prefix, "-c", file, "-e", "stderr"];
        let mut child = ChildProcess::start(nginx, &arguments, &[]).or_else(|_| {
            // Debian installs it in a folder that is in root's PATH only.
            ChildProcess::start(&Path::new("/usr/sbin").join(nginx), &arguments, &[])
        })?;
        child.wait_for_success(&format!("http://{address}/ready")).await?;
        Ok(Self { child, address, publisher: reqwest::Client::builder().no_proxy().build()?, _folder: folder })
    }

    /// The request that subscribes.
    pub fn request(&self) -> String {
        format!("GET /alerts HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n", self.address)
    }

    /// Publishes this many alerts one after the other on one connection.
    pub async fn publish(&self, alerts: u32, between: Duration) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(between.max(Duration::from_micros(1)));
        for number in 0..alerts {
            if !between.is_zero() {
                ticks.tick().await;
            }
            let sent = self.publisher.post(format!("http://{}/publish", self.address)).body(mark::json(number)?);
            let response = sent.send().await?.error_for_status()?;
            response.bytes().await?;
        }
        Ok(())
    }
}

fn configuration(module: &Path, address: &str, subscribers: u32) -> String {
    // nginx starts to close idle connections when a sixteenth of them is left.
    let (module, connections) = (module.display(), subscribers * 5 / 4 + 256);
    let files = connections + 64;
    format!(
        "load_module {module};
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen {address} backlog=4096;
    location = /ready {{ return 204; }}
    location = /publish {{
      nchan_publisher;
      nchan_channel_id alerts;
      nchan_message_buffer_length {KEPT};
      nchan_message_timeout 1h;
    }}
    location = /alerts {{
      nchan_subscriber eventsource;
      nchan_channel_id alerts;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"
    )
}
