//! A fake standalone mongod: it responds to every message of the wire protocol with the same `hello` response.

use mongodb::bson::{RawDocumentBuf, rawdoc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;

/// Listens on a free port. Returns the URI.
pub async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            // Ends when the client disconnects.
            tokio::spawn(async move { drop(answer_all(connection).await) });
        }
    });
    format!("mongodb://{address}")
}

fn hello() -> RawDocumentBuf {
    rawdoc! {
        "helloOk": true,
        "ismaster": true,
        "isWritablePrimary": true,
        "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "minWireVersion": 0,
        "maxWireVersion": 17,
        "ok": 1.0,
    }
}

async fn answer_all(mut connection: TcpStream) -> std::io::Result<()> {
    loop {
        let length = connection.read_i32_le().await?;
        let request = connection.read_i32_le().await?;
        let _answered = connection.read_i32_le().await?;
        let kind = connection.read_i32_le().await?;
        let mut rest = vec![0; usize::try_from(length - 16).unwrap_or_default()];
        connection.read_exact(&mut rest).await?;
        let (kind, mut body) = match kind {
            // Flags, cursor, first document, one document.
            OP_QUERY => (OP_REPLY, [vec![0; 16], vec![1, 0, 0, 0]].concat()),
            // Flags, a section of one document.
            _ => (OP_MSG, vec![0; 5]),
        };
        body.extend_from_slice(hello().as_bytes());
        let length = i32::try_from(body.len() + 16).unwrap_or_default();
        let mut message: Vec<u8> = [length, 0, request, kind].into_iter().flat_map(i32::to_le_bytes).collect();
        message.extend(body);
        connection.write_all(&message).await?;
    }
}
