//! A proxy between one client and a Kafka broker that can cut the client off from its group's coordinator, and from
//! nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Requests that only a group's coordinator answers (Kafka protocol, "Api Keys"): `OffsetCommit`, `OffsetFetch`,
/// `JoinGroup`, `Heartbeat`, `LeaveGroup`, `SyncGroup`, `ConsumerGroupHeartbeat`.
const TO_COORDINATOR: [i16; 7] = [8, 9, 11, 12, 13, 14, 68];

/// The largest request that is passed on, in bytes.
const MAX_REQUEST: usize = 256 << 20;

/// Listens on 127.0.0.1. The broker has to advertise [`GroupProxy::address`] to whoever comes through it
/// ([`crate::Broker::start_behind`]). Ends when dropped.
#[derive(Debug)]
pub struct GroupProxy {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
    /// Changes when what was cut is to be closed, so that the client connects anew.
    mended: watch::Sender<u64>,
    broker: watch::Sender<Option<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl GroupProxy {
    /// Takes a port. Connections wait until it is known where the broker is.
    ///
    /// # Errors
    /// If none can be had.
    pub async fn bind() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let cut = Arc::new(AtomicBool::new(false));
        let (mended, closing) = watch::channel(0);
        let (broker, to) = watch::channel(None);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&cut), closing, to));
        Ok(Self {
            address,
            cut,
            mended,
            broker,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections go there.
    pub fn lead_to(&self, broker: SocketAddr) {
        self.broker.send_replace(Some(broker));
    }

    /// From now on what is said to the coordinator is swallowed, without a word to either side. All else passes.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Everything passes again; connections on which something was swallowed are closed.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
        self.mended.send_modify(|times| *times += 1);
    }
}

impl Drop for GroupProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    cut: Arc<AtomicBool>,
    closing: watch::Receiver<u64>,
    mut to: watch::Receiver<Option<SocketAddr>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    let mut broker = None;
    while let Ok((client, _)) = listener.accept().await {
        if broker.is_none() {
            let Ok(known) = to.wait_for(Option::is_some).await else {
                return;
            };
            broker = *known;
        }
        let Some(broker) = broker else { return };
        let (cut, closing) = (Arc::clone(&cut), closing.clone());
        // What breaks on either side ends the connection on both, as without a proxy.
        connections.spawn(async move { pass(client, broker, &cut, closing).await.ok() });
    }
}

async fn pass(
    client: TcpStream,
    broker: SocketAddr,
    cut: &AtomicBool,
    closing: watch::Receiver<u64>,
) -> Result<()> {
    let server = TcpStream::connect(broker).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        ended = requests(from_client, to_server, cut, closing) => ended,
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(|_| ()).map_err(Into::into),
    }
}

/// Passes whole requests on: a length of four bytes, then the key of what is asked.
async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    cut: &AtomicBool,
    mut closing: watch::Receiver<u64>,
) -> Result<()> {
    let mut request = Vec::new();
    loop {
        let length = usize::try_from(from.read_i32().await?)?;
        ensure!(
            (2..=MAX_REQUEST).contains(&length),
            "a request of {length} bytes"
        );
        request.resize(length, 0);
        from.read_exact(&mut request).await?;
        let asked = i16::from_be_bytes([request[0], request[1]]);
        // First, so that a mending in between is seen below.
        closing.mark_unchanged();
        if cut.load(Ordering::SeqCst) && TO_COORDINATOR.contains(&asked) {
            closing.changed().await?;
            return Ok(());
        }
        to.write_all(&i32::try_from(length)?.to_be_bytes()).await?;
        to.write_all(&request).await?;
    }
}
