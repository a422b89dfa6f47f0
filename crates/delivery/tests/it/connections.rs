//! Connections that are kept for the next attempt, over real sockets on loopback.

use std::sync::Arc;
use std::time::Duration;

use postrider_delivery::{Failure, HttpOptions, HttpSender, Sender};
use postrider_guard::Guard;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::http::{OK, TIMEOUT, receiver, request, sender, to};

#[tokio::test]
async fn a_connection_is_used_again_after_a_short_answer() {
    let (address, mut received) = receiver(OK).await;
    let sender = sender();
    for _ in 0..10 {
        sender.send(to(&address, TIMEOUT)).await.unwrap();
        assert_eq!(received.recv().await.unwrap().0, 0);
    }
}

/// One connection after the other: the first answers once and is closed when `close` says so, each further one answers once.
/// Tells when the other side has closed the first, too, and each request.
async fn closing_after_one(
    listener: TcpListener,
    close: oneshot::Receiver<()>,
    noticed: oneshot::Sender<()>,
    requests: mpsc::Sender<String>,
) {
    let (mut stream, _) = listener.accept().await.unwrap();
    requests
        .send(request(&mut stream).await.unwrap())
        .await
        .unwrap();
    stream.write_all(OK).await.unwrap();
    close.await.unwrap();
    stream.shutdown().await.unwrap();
    // Read to its end, which the other side makes once it has noticed.
    assert_eq!(request(&mut stream).await, None);
    noticed.send(()).unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        requests
            .send(request(&mut stream).await.unwrap())
            .await
            .unwrap();
        stream.write_all(OK).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_its_receiver_closed_while_idle_fails_no_attempt() {
    let sender = sender();
    for _ in 0..20 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (close, closes) = oneshot::channel();
        let (tell, noticed) = oneshot::channel();
        let (tell_request, mut requests) = mpsc::channel(10);
        tokio::spawn(closing_after_one(listener, closes, tell, tell_request));
        let first = sender.send(to(&address, TIMEOUT)).await;
        assert_eq!(first.unwrap().status, 200);
        close.send(()).unwrap();
        // Without an attempt.
        let noticed = tokio::time::timeout(TIMEOUT, noticed).await;
        noticed.expect("it is closed on our side, too").unwrap();
        let second = sender.send(to(&address, TIMEOUT)).await;
        assert_eq!(second.unwrap().status, 200);
        assert!(requests.recv().await.is_some() && requests.recv().await.is_some());
        assert!(requests.try_recv().is_err(), "one was sent twice");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_us_before_common_servers_close_it() {
    // Node, Apache and uvicorn close what was idle for five seconds. One that is closed while a request is on its way to it
    // fails an attempt, though nothing is wrong with the endpoint.
    let options = HttpOptions::default();
    assert!(options.idle_timeout < Duration::from_secs(5));

    let options = HttpOptions {
        idle_timeout: Duration::from_millis(200),
        ..options
    };
    let loopback = vec!["127.0.0.0/8".parse().unwrap()];
    let sender = HttpSender::new(Arc::new(Guard::new(loopback, false)), options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let closed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all(OK).await.unwrap();
        request(&mut stream).await
    });
    let answer = sender.send(to(&address, TIMEOUT)).await.unwrap();
    assert_eq!(answer.status, 200);
    let closed = tokio::time::timeout(TIMEOUT, closed).await;
    assert_eq!(closed.expect("it is closed").unwrap(), None);
}

#[tokio::test]
async fn a_request_whose_connection_is_closed_instead_of_an_answer_is_sent_once_and_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, mut requests) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                // The connection was used before: its end may mean that the request was not read, or that it was.
                request(&mut stream).await.unwrap();
                stream.write_all(OK).await.unwrap();
                if let Some(second) = request(&mut stream).await {
                    tell.send(second).await.unwrap();
                }
            });
        }
    });
    let sender = sender();
    let answer = sender.send(to(&address, TIMEOUT)).await.unwrap();
    assert_eq!(answer.status, 200);
    let failure = sender.send(to(&address, TIMEOUT)).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
    assert!(requests.recv().await.is_some());
    assert!(requests.try_recv().is_err(), "it was sent again");
}

#[tokio::test]
async fn idle_connections_are_bounded_in_total() {
    let options = HttpOptions {
        connections: 10,
        ..HttpOptions::default()
    };
    let loopback = vec!["127.0.0.0/8".parse().unwrap()];
    let sender = HttpSender::new(Arc::new(Guard::new(loopback, false)), options).unwrap();
    let (closed_to, mut closed) = mpsc::channel(1000);
    for _ in 0..200 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let closed = closed_to.clone();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            stream.write_all(OK).await.unwrap();
            // Ends when the other side closes.
            assert!(request(&mut stream).await.is_none());
            closed.send(()).await.unwrap();
        });
        assert_eq!(
            sender.send(to(&address, TIMEOUT)).await.unwrap().status,
            200
        );
    }
    for _ in 0..100 {
        let end = tokio::time::timeout(TIMEOUT, closed.recv()).await;
        end.expect("idle connections to hosts that are not called again stay open");
    }
}
