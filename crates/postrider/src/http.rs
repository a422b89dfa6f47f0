//! The HTTP server: HTTP/1.1 by hyper, bounded in connections, header bytes and header time. At the end clients are asked to
//! leave before they are left: a request that crosses the closing of its connection is lost, and its client cannot know.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use crate::slots::{Slot, Slots};

/// How long a connection may take to send the headers of its next request, the idle time before it included. Longer than
/// common clients keep idle connections (90 s), so that it is they who close: a request that crosses a close is lost.
const HEADER_TIMEOUT: Duration = Duration::from_secs(95);
/// How long a connection may take until its first request has begun. A stranger needs no token to open connections, and as
/// many as there may be that say nothing shut everybody else out.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// All headers of a request together.
const HEADER_BYTES: usize = 64 << 10;
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What bounds a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at once. Beyond it the one that is idle longest gives way, after a second at least; while none is, further
    /// ones wait in the system's queue.
    pub(crate) connections: usize,
    /// How long one of them may take until its first request has begun.
    pub(crate) first: Duration,
    /// How long after `shutdown` requests are still taken, each answer with `Connection: close`.
    pub(crate) leave: Duration,
    /// How long requests in flight may take after that.
    pub(crate) drain: Duration,
}

/// Answers with `service` on `listener` until `shutdown`, and for a while longer; then takes no more connections and lets
/// requests in flight finish.
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
    let slots = Slots::new(bounds.connections);
    let drain = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut over = pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(bounds.leave).await;
    });
    let leaving = shutdown.clone();
    let service = service.map_response(move |response| asked_to_leave(response, &leaving));
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = &mut over => break,
            next = next(&listener, &slots, &drain, &mut connections) => next,
        };
        connections.spawn(answer(stream, service.clone(), slot, bounds.first));
    }
    drop(listener);
    drain.cancel();
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(bounds.drain, drained).await.is_err() {
        tracing::warn!(
            after_s = bounds.drain.as_secs(),
            "requests were still in flight when their time to finish was over"
        );
    }
    connections.shutdown().await;
}

/// Says with the answer that its connection ends with it, once the server is told to stop.
fn asked_to_leave(mut response: Response<Body>, shutdown: &CancellationToken) -> Response<Body> {
    if shutdown.is_cancelled() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// The next connection, once there is room for it.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Slots>,
    drain: &CancellationToken,
    connections: &mut JoinSet<()>,
) -> (TcpStream, Slot) {
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            // Nobody gives way before somebody is there.
            Ok((stream, _)) => return (stream, slots.take(drain).await),
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

async fn answer<S>(stream: TcpStream, service: S, slot: Slot, first: Duration)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send,
    S::Future: Send,
{
    // Small answers must not wait for the peer's acknowledgement; without the option they still arrive.
    let _ = stream.set_nodelay(true);
    let has_begun = AtomicBool::new(false);
    let service = service
        .map_request(|request| {
            has_begun.store(true, Ordering::Relaxed);
            slot.busy();
            request
        })
        .map_response(|response| {
            slot.idle();
            response
        });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let mut leaves = pin!(slot.leaves());
    let mut first = pin!(tokio::time::sleep(first));
    let (mut is_leaving, mut is_over) = (false, false);
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            () = leaves.as_mut(), if !is_leaving => {
                // A request that it has is still answered.
                if !has_begun.load(Ordering::Relaxed) {
                    return;
                }
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = first.as_mut(), if !is_over => {
                if !has_begun.load(Ordering::Relaxed) {
                    return;
                }
                is_over = true;
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: here\r\n\r\n";

    struct Running {
        address: std::net::SocketAddr,
        shutdown: CancellationToken,
        server: tokio::task::JoinHandle<()>,
        /// Told when a request has begun.
        begun: Arc<Notify>,
        /// Lets it end.
        go_on: Arc<Notify>,
    }

    async fn start(connections: usize, drain: Duration) -> Running {
        start_leaving(connections, Duration::ZERO, drain).await
    }

    async fn start_leaving(connections: usize, leave: Duration, drain: Duration) -> Running {
        start_within(Bounds {
            connections,
            first: FIRST_REQUEST,
            leave,
            drain,
        })
        .await
    }

    async fn start_within(bounds: Bounds) -> Running {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
        let slow = get(async move || {
            tell.notify_one();
            wait.notified().await;
            "done"
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let quick = get(async || "quick");
        let router = Router::new().route("/slow", slow).route("/quick", quick);
        let server = tokio::spawn(serve(listener, router, bounds, shutdown.clone()));
        Running {
            address,
            shutdown,
            server,
            begun,
            go_on,
        }
    }

    async fn ask(running: &Running) -> TcpStream {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        stream
    }

    async fn read_all(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        // A connection that was reset has nothing more to say.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_the_server_was_told_to_stop() {
        let running = start(10, Duration::from_secs(60)).await;
        let stream = ask(&running).await;
        running.begun.notified().await;
        running.shutdown.cancel();
        running.go_on.notify_one();
        assert!(read_all(stream).await.ends_with("done"));
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_told_to_stop_takes_requests_a_while_longer_and_asks_for_connections_to_be_closed()
     {
        let hour = Duration::from_secs(3600);
        let running = start_leaving(10, hour, hour).await;
        let mut kept = TcpStream::connect(running.address).await.unwrap();
        running.shutdown.cancel();
        // On a connection of before, and on a new one.
        kept.write_all(REQUEST).await.unwrap();
        running.begun.notified().await;
        running.go_on.notify_one();
        let first = read_all(kept).await;
        let later = ask(&running).await;
        running.begun.notified().await;
        running.go_on.notify_one();
        for answer in [first, read_all(later).await] {
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(answer.ends_with("done"), "{answer}");
        }
        running.server.abort();
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_off_when_the_drain_is_over() {
        let running = start(10, Duration::from_millis(10)).await;
        let stream = ask(&running).await;
        running.begun.notified().await;
        running.shutdown.cancel();
        running.server.await.unwrap();
        assert_eq!(read_all(stream).await, "");
    }

    #[tokio::test]
    async fn a_connection_that_never_begins_a_request_is_closed_and_one_that_has_begun_is_not() {
        let running = start_within(Bounds {
            connections: 10,
            first: Duration::from_millis(50),
            leave: Duration::ZERO,
            drain: Duration::from_secs(60),
        })
        .await;
        let stream = ask(&running).await;
        running.begun.notified().await;
        let mut half = TcpStream::connect(running.address).await.unwrap();
        half.write_all(b"GET /slow HT").await.unwrap();
        let silent = TcpStream::connect(running.address).await.unwrap();
        for stream in [half, silent] {
            assert_eq!(read_all(stream).await, "");
        }
        running.shutdown.cancel();
        running.go_on.notify_one();
        assert!(read_all(stream).await.ends_with("done"));
    }

    #[tokio::test]
    async fn connections_that_asked_once_and_are_silent_give_way_and_one_with_a_request_does_not() {
        let running = start(3, Duration::from_secs(60)).await;
        let busy = ask(&running).await;
        running.begun.notified().await;
        let mut silent = Vec::new();
        // Much longer than they may be silent, if each waited for another to end.
        let all = tokio::time::timeout(Duration::from_secs(60), async {
            for _ in 0..8 {
                let mut stream = TcpStream::connect(running.address).await.unwrap();
                let request = b"GET /quick HTTP/1.1\r\nhost: here\r\n\r\n";
                stream.write_all(request).await.unwrap();
                let mut answer = [0; 15];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"HTTP/1.1 200 OK");
                silent.push(stream);
            }
        });
        all.await.unwrap();
        assert!(read_all(silent.swap_remove(0)).await.ends_with("quick"));
        running.go_on.notify_one();
        running.shutdown.cancel();
        assert!(read_all(busy).await.ends_with("done"));
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_beyond_the_bound_waits_until_another_ends() {
        let running = start(1, Duration::ZERO).await;
        let first = ask(&running).await;
        running.begun.notified().await;
        let second = ask(&running).await;
        drop(first);
        running.begun.notified().await;
        running.go_on.notify_waiters();
        running.go_on.notify_one();
        let mut answer = [0; 15];
        let mut second = second;
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        running.shutdown.cancel();
    }
}
