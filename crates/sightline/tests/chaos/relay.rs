//! The network between a service and a server: a TCP relay that can inject faults.
//!
//! It replaces packet filters and traffic shaping, which need kernel modules and rights that not every machine has. Clients see
//! no difference: TCP too hides lost packets and shows them as delay.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::plan::NetworkFault;

/// The current fault.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    network_fault: Option<NetworkFault>,
    /// Connections from before the last half-open fault transfer no data.
    half_opens: u32,
}

/// A port that forwards to another one.
pub struct Relay {
    pub port: u16,
    state: Arc<watch::Sender<State>>,
}

/// Bytes and the time at which they are delivered.
type Piece = (Instant, Vec<u8>);

impl Relay {
    /// Binds a port; connections wait until [`Relay::forward_to`].
    pub async fn bind() -> (Self, TcpListener) {
        let port = crate::processes::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let state = Arc::new(watch::Sender::new(State::default()));
        (Self { port, state }, listener)
    }

    /// Starts to forward to `target`. Random decisions are derived from `seed`.
    pub fn forward_to(&self, listener: TcpListener, target: u16, seed: u64) {
        let state = self.state.clone();
        tokio::spawn(async move {
            let mut rng = Rng::with_seed(seed);
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(relay(client, target, state.subscribe(), rng.fork()));
            }
        });
    }

    /// Starts a fault, or ends the current one.
    pub fn set(&self, network_fault: Option<NetworkFault>) {
        self.state.send_modify(|state| match network_fault {
            Some(NetworkFault::HalfOpen) => state.half_opens += 1,
            other => state.network_fault = other,
        });
    }
}

async fn relay(client: TcpStream, target: u16, state: watch::Receiver<State>, mut rng: Rng) {
    let half_opens_at_start = state.borrow().half_opens;
    let mut ready = state.clone();
    // A connection that is opened during a stall is established after it.
    let is_forwarding = |state: &State| state.network_fault != Some(NetworkFault::Stall);
    if ready.wait_for(is_forwarding).await.is_err() || is_cut(&state) {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return reset(&client) };
    for socket in [&client, &server] {
        socket.set_nodelay(true).unwrap();
        // A dropped connection is reset, as by a cut.
        socket.set_zero_linger().unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (state.clone(), state.clone());
    tokio::select! {
        () = one_way(from_client, to_server, up, half_opens_at_start, rng.fork()) => {}
        () = one_way(from_server, to_client, down, half_opens_at_start, rng.fork()) => {}
        () = until_cut(state) => {}
    }
}

fn reset(client: &TcpStream) {
    client.set_zero_linger().unwrap();
}

fn is_cut(state: &watch::Receiver<State>) -> bool {
    state.borrow().network_fault == Some(NetworkFault::Cut)
}

async fn until_cut(mut state: watch::Receiver<State>) {
    drop(state.wait_for(|state| state.network_fault == Some(NetworkFault::Cut)).await);
}

/// Reads on one side and writes on the other, until either closes. The delivery time of a piece is fixed when it is read.
async fn one_way(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    state: watch::Receiver<State>,
    half_opens_at_start: u32,
    mut rng: Rng,
) {
    // About the size of a socket buffer, so that a sender blocks during a long stall.
    let (sender, pieces) = mpsc::channel::<Piece>(64);
    let writing = write(to, pieces, state.clone(), half_opens_at_start);
    let reading = async move {
        let mut buffer = vec![0; 16 << 10];
        let mut last = Instant::now();
        while let Ok(size @ 1..) = from.read(&mut buffer).await {
            last = last.max(Instant::now() + lateness(&state, &mut rng));
            if sender.send((last, buffer[..size].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

fn lateness(state: &watch::Receiver<State>, rng: &mut Rng) -> Duration {
    match state.borrow().network_fault {
        Some(NetworkFault::Delay(delay)) => delay,
        Some(NetworkFault::Loss(percent)) if rng.u8(0..100) < percent => Duration::from_millis(200 << rng.u32(0..4)),
        _ => Duration::ZERO,
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<Piece>,
    mut state: watch::Receiver<State>,
    half_opens_at_start: u32,
) {
    while let Some((at, piece)) = pieces.recv().await {
        tokio::time::sleep_until(at).await;
        let open =
            |state: &State| state.half_opens > half_opens_at_start || state.network_fault != Some(NetworkFault::Stall);
        match state.wait_for(open).await {
            // Discarded.
            Ok(state) if state.half_opens > half_opens_at_start => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
    if state.borrow().half_opens > half_opens_at_start {
        std::future::pending::<()>().await;
    }
}
