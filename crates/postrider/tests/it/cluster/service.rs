//! A Service of Kubernetes, as connections see it: each new one goes to the next of the replicas that are in it, and stays
//! there as long as both sides keep it, whatever becomes of the list. It asks nobody whether he is ready, and no request
//! makes it try another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A Service. It ends with its value, and its connections do.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    replicas: watch::Sender<Vec<SocketAddr>>,
    connections: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Service {
    pub(super) async fn of(replicas: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (replicas, known) = watch::channel(replicas);
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(pass_on(listener, known, Arc::clone(&connections)));
        Self {
            address,
            replicas,
            connections,
            task: task.abort_handle(),
        }
    }

    /// New connections go to these from now on.
    pub(super) fn send_to(&self, replicas: Vec<SocketAddr>) {
        self.replicas.send_replace(replicas);
    }

    /// How many connections there have been.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(
    listener: TcpListener,
    known: watch::Receiver<Vec<SocketAddr>>,
    connections: Arc<AtomicUsize>,
) {
    let mut passed_on = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let number = connections.fetch_add(1, Ordering::Relaxed);
        let replica = {
            let replicas = known.borrow();
            replicas[number % replicas.len()]
        };
        passed_on.spawn(async move {
            // Who refuses a connection here refuses it to the client.
            let mut replica = TcpStream::connect(replica).await?;
            copy_bidirectional(&mut client, &mut replica).await
        });
    }
}
