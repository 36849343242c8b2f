//! An SMTP server that accepts every mail, counts it, and discards it.

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The server; it stops when this is dropped.
pub struct Mailbox {
    /// Its address.
    pub url: String,
    mails: watch::Receiver<usize>,
    _serving: AbortOnDropHandle<()>,
}

impl Mailbox {
    /// Starts on a free port.
    pub async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for mails")?;
        let url = format!("smtp://{}", listener.local_addr()?);
        let (count, mails) = watch::channel(0);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A broken connection is not counted; the waiting client times out.
                let count = count.clone();
                tokio::spawn(async move { drop(take(client, &count).await) });
            }
        });
        Ok(Self { url, mails, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Number of mails so far.
    pub fn mails(&self) -> usize {
        *self.mails.borrow()
    }

    /// Waits until this many mails came.
    pub async fn after(&self, mails: usize) -> anyhow::Result<()> {
        let mut seen = self.mails.clone();
        seen.wait_for(|seen| *seen >= mails).await.context("the mail server ended")?;
        Ok(())
    }
}

/// Receives the mails of one connection, with the minimum of SMTP.
async fn take(client: TcpStream, count: &watch::Sender<usize>) -> std::io::Result<()> {
    let (read, mut write) = client.into_split();
    let (mut lines, mut in_mail) = (BufReader::new(read).lines(), false);
    write.write_all(b"220 localhost\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let answer: &[u8] = match (in_mail, line.as_str()) {
            (true, ".") => {
                in_mail = false;
                count.send_modify(|count| *count += 1);
                b"250 accepted\r\n"
            }
            (true, _) => continue,
            (false, "DATA") => {
                in_mail = true;
                b"354 go on\r\n"
            }
            (false, "QUIT") => b"221 bye\r\n",
            (false, _) => b"250 localhost\r\n",
        };
        write.write_all(answer).await?;
    }
    Ok(())
}
