//! A Redis that answers every command with an error, like one whose disk is full.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts it; returns its URL. It runs as long as the runtime of the test.
pub async fn refusing_redis() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(refuse(connection));
        }
    });
    url
}

/// Answers one error for each command. A command is an array, and only an array begins a line with `*`.
async fn refuse(mut connection: TcpStream) {
    let mut received = [0; 4096];
    let mut line_begins = true;
    while let Ok(length @ 1..) = connection.read(&mut received).await {
        let mut commands = 0;
        for byte in &received[..length] {
            commands += usize::from(line_begins && *byte == b'*');
            line_begins = *byte == b'\n';
        }
        let errors = "-MISCONF the disk is full\r\n".repeat(commands);
        if connection.write_all(errors.as_bytes()).await.is_err() {
            return;
        }
    }
}
