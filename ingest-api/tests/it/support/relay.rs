//! A TCP relay to a real server, which a test can cut.

use reqwest::Url;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Accepts on a port and connects each client to the target, until it is cut.
pub struct TestRelay {
    port: u16,
    target: Url,
    task: JoinHandle<()>,
}

impl TestRelay {
    /// A relay on a free port.
    pub async fn to(target: &str) -> Self {
        Self::open(target.parse().unwrap(), 0).await
    }

    /// A relay on this port.
    pub async fn open(target: Url, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = (target.host_str().unwrap().to_owned(), target.port().unwrap());
        let task = tokio::spawn(async move {
            // Aborting this task drops the set, which ends every connection.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let address = address.clone();
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(address).await {
                        drop(copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        Self { port, target, task }
    }

    /// The target's URL with the relay's address.
    pub fn url(&self) -> String {
        let mut url = self.target.clone();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.to_string()
    }

    /// Closes all connections and the port. The result opens it again.
    pub async fn cut(self) -> (Url, u16) {
        self.task.abort();
        drop(self.task.await);
        (self.target, self.port)
    }
}
