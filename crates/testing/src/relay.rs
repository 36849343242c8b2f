//! A TCP relay in front of a server, which a test can cut and restore.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Relays connections to a server.
pub struct Relay {
    /// The server's address as clients write it, such as `redis://user:password@host:6379/0`.
    url: String,
    /// `host:port` of the server.
    server: String,
    port: u16,
    running: Option<JoinHandle<()>>,
}

impl Relay {
    /// Relays to the server in an address with or without a scheme.
    pub async fn to(url: &str) -> Self {
        let mut relay = Self { url: url.to_owned(), server: server_in(url).to_owned(), port: 0, running: None };
        relay.restore().await;
        relay
    }

    /// The server's address with the relay in its place.
    pub fn url(&self) -> String {
        self.url.replacen(&self.server, &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Ends every connection and refuses new ones.
    pub async fn cut(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.abort();
        drop(running.await);
    }

    /// Relays again, on the same port.
    pub async fn restore(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        self.running = Some(tokio::spawn(relay(listener, self.server.clone())));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// Dropping the future also ends the connections, because it owns their tasks.
async fn relay(listener: TcpListener, server: String) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let server = server.clone();
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(server).await {
                drop(copy_bidirectional(&mut client, &mut server).await);
            }
        });
    }
}

/// `host:port` in an address.
fn server_in(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, server)| server)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn the_server_in_an_address_is_found() {
        for url in ["redis://host:1", "postgres://user:p@ss@host:1/db?x=y", "host:1", "http://host:1/path"] {
            assert_eq!(server_in(url), "host:1", "{url}");
        }
    }

    #[tokio::test]
    async fn a_cut_relay_ends_connections_until_it_is_restored() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut relay = Relay::to(&format!("test://{}/x", server.local_addr().unwrap())).await;
        let address = relay.url().trim_start_matches("test://").trim_end_matches("/x").to_owned();
        let mut client = TcpStream::connect(&address).await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        accepted.write_all(b"a").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'a');

        relay.cut().await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0, "the connection ends");
        assert!(TcpStream::connect(&address).await.is_err(), "no new one is accepted");

        relay.restore().await;
        let mut client = TcpStream::connect(&address).await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        accepted.write_all(b"b").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'b');
    }
}
