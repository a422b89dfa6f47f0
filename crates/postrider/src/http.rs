//! The HTTP server: HTTP/1.1 by hyper, bounded in connections, header bytes and header time, and drained at the end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How long a connection may take to send the headers of its next request, the idle time before it included. Longer than
/// common clients keep idle connections (90 s), so that it is they who close: a request that crosses a close is lost.
const HEADER_TIMEOUT: Duration = Duration::from_secs(95);
/// All headers of a request together.
const HEADER_BYTES: usize = 64 << 10;
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What bounds a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at once; further ones wait in the system's queue.
    pub(crate) connections: usize,
    /// How long requests in flight may take after `shutdown`.
    pub(crate) drain: Duration,
}

/// Answers with `service` on `listener` until `shutdown`, then takes no more connections and lets requests in flight
/// finish.
pub(crate) async fn serve<S>(
    listener: TcpListener,
    service: S,
    bounds: Bounds,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let draining = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    while let Some((stream, slot)) = shutdown
        .run_until_cancelled(next(&listener, &slots, &mut connections))
        .await
    {
        connections.spawn(answer(stream, service.clone(), draining.watcher(), slot));
    }
    drop(listener);
    if tokio::time::timeout(bounds.drain, draining.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            after_s = bounds.drain.as_secs(),
            "requests were still in flight when their time to finish was over"
        );
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for it.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            // The semaphore is never closed.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) if of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

async fn answer<S>(stream: TcpStream, service: S, watcher: Watcher, _slot: OwnedSemaphorePermit)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send,
    S::Future: Send,
{
    // Small answers must not wait for the peer's acknowledgement; without the option they still arrive.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
