//! An HTTP/1.1 server that stands for a customer's endpoint, and behaves as badly as one can.
//!
//! It parses as little as will do and runs on a thread of its own, because the benchmark uses it too: what
//! it costs must not drown what is measured.

mod behaviour;
mod record;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

pub use behaviour::Behaviour;
pub use record::Arrival;
pub use wire::Received;

use crate::eventually;
use crate::quantiles::Quantiles;
use record::{Peer, Shared, lock};

/// How much a receiver keeps of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// How many came and how late: for the benchmark.
    Delays,
    /// An [`Arrival`] for each request.
    Arrivals,
    /// Likewise, and the request whole ([`Receiver::requests`]).
    Requests,
}

/// What came to some paths.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Requests.
    pub arrived: u64,
    /// Of these, such as have no answer yet.
    pub open: u64,
    /// From the moment that the client meant to send until it came.
    pub delay: Quantiles,
}

/// A server on 127.0.0.1 that plays customers' endpoints, one for each path.
///
/// A path that nobody has told how to behave does as it says of itself: `/hang/…` hangs, `/status/503/…`
/// answers 503, `/delay/20/…` waits 20 ms, all others answer 200. Ends when dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one that keeps an [`Arrival`] for each request.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start() -> Result<Self> {
        Self::recording(Recording::Arrivals)
    }

    /// Starts one that keeps this much.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn recording(recording: Recording) -> Result<Self> {
        let shared = Arc::new(Shared::new(recording));
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::sync_channel(1);
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || run(serving, &tell, stopped))?;
        let address = told.recv().context("the receiver did not start")??;
        Ok(Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on `path` behaves so. Returns its URL.
    pub fn on(&self, path: &str, behaviour: Behaviour) -> String {
        self.shared.route(path).set_behaviour(behaviour);
        self.url(path)
    }

    /// From now on signatures at `path` are verified with `secret`.
    pub fn verify(&self, path: &str, secret: &str) {
        self.shared.route(path).set_secret(secret);
    }

    /// All that came so far, in the order in which it came.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.shared.arrivals).clone()
    }

    /// What came to `path` so far.
    #[must_use]
    pub fn arrivals_at(&self, path: &str) -> Vec<Arrival> {
        let arrivals = lock(&self.shared.arrivals);
        arrivals
            .iter()
            .filter(|one| &*one.path == path)
            .cloned()
            .collect()
    }

    /// The requests that came to `path`, whole, if they are recorded.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<Received> {
        self.shared.route(path).kept()
    }

    /// What came to the paths that begin with `prefix`.
    #[must_use]
    pub fn stats(&self, prefix: &str) -> Stats {
        self.shared.stats(prefix)
    }

    /// How many requests came to the paths that begin with `prefix`.
    #[must_use]
    pub fn count(&self, prefix: &str) -> u64 {
        self.shared.stats(prefix).arrived
    }

    /// Waits until everybody who was connected is gone, and all that they had sent has been read. Nobody may connect
    /// meanwhile.
    ///
    /// # Errors
    /// If somebody is still there by `deadline`.
    pub async fn wait_until_left(&self, deadline: Duration) -> Result<()> {
        // Connections are accepted in the order in which they were made: those made before this one have been accepted
        // when it is answered.
        let mut last = TcpStream::connect(self.address).await?;
        last.write_all(b"GET /_stats HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
            .await?;
        let mut answer = [0; 64];
        ensure!(last.read(&mut answer).await? > 0, "the receiver has ended");
        drop(last);
        let left = eventually("nobody is connected", deadline, async || {
            (self.shared.connections.load(Ordering::Acquire) == 0).then_some(())
        });
        left.await
    }

    /// Waits until at least `count` requests have come to the paths that begin with `prefix`.
    ///
    /// # Errors
    /// If they have not by `deadline`.
    pub async fn wait_for(&self, prefix: &str, count: u64, deadline: Duration) -> Result<()> {
        let what = format!("{count} requests come to {prefix}");
        let waited = eventually(&what, deadline, async || {
            (self.count(prefix) >= count).then_some(())
        });
        waited
            .await
            .with_context(|| format!("{} have come", self.count(prefix)))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A receiver that panicked has said so; the test fails by what it then misses.
            let _ = thread.join();
        }
    }
}

/// A port of 127.0.0.1 that is taken but refuses every connection: a dead endpoint.
#[derive(Debug)]
pub struct Refusing {
    // Bound, and never listening: so nobody else is given the port meanwhile.
    socket: TcpSocket,
}

impl Refusing {
    /// Takes a port.
    ///
    /// # Errors
    /// If none can be had.
    pub fn bind() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self { socket })
    }

    /// A URL on it.
    ///
    /// # Errors
    /// If the system forgot the port.
    pub fn url(&self) -> Result<String> {
        Ok(format!("http://{}/", self.socket.local_addr()?))
    }
}

/// A receiver's thread: a runtime of its own, so that no test can starve it.
fn run(
    shared: Arc<Shared>,
    tell: &mpsc::SyncSender<Result<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
) {
    let serving = async {
        let listener = match listen() {
            Ok(listener) => listener,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let address = listener.local_addr().context("the address of a listener");
        drop(tell.send(address));
        tokio::select! {
            () = accept(listener, shared) => {}
            _ = stopped => {}
        }
    };
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(serving),
        Err(error) => drop(tell.send(Err(error.into()))),
    }
}

/// Listens with a backlog that bears thousands of connections at once.
fn listen() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    Ok(socket.listen(16 * 1024)?)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let connections = AtomicU64::new(0);
    loop {
        let Ok((stream, client)) = listener.accept().await else {
            // Out of files, most likely: some will be closed.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        let peer = Peer {
            connection: connections.fetch_add(1, Ordering::Relaxed),
            port: client.port(),
        };
        // A connection that breaks is the peer's business: its requests are recorded as unanswered.
        shared.connections.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(async move {
            serve(stream, &shared, peer).await.ok();
            shared.connections.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared, peer: Peer) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(4096);
    while let Some(request) = Received::read(&mut stream, &mut buffer).await? {
        if request.path.starts_with(b"/_") {
            control(&mut stream, shared, request.path_text()).await?;
            continue;
        }
        let turn = shared.arrive(&request, peer);
        let answered = turn.behaviour.answer(&mut stream, turn.number).await;
        let (status, again) = answered.unwrap_or((0, false));
        shared.answered(&turn, status);
        if !again {
            break;
        }
    }
    Ok(())
}

/// What another process may ask: `/_stats/PREFIX`, and `/_clear`.
async fn control(stream: &mut TcpStream, shared: &Shared, path: &str) -> std::io::Result<()> {
    let body = match path.strip_prefix("/_stats") {
        Some(prefix) => serde_json::to_vec(&shared.stats(prefix))?,
        None => {
            shared.clear();
            b"{}".to_vec()
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await
}
