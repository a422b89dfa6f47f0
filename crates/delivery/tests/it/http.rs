//! Attempts over real sockets on loopback.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_delivery::{Failure, HttpOptions, HttpSender, Outgoing, Sender, Target};
use postrider_guard::Guard;
use postrider_model::{
    AppId, Class, Delivery, Endpoint, EndpointId, EndpointPolicy, Event, EventId, EventOrigin,
    Timestamp, TraceContext,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::world::endpoint;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn sender() -> HttpSender {
    let loopback = vec!["127.0.0.0/8".parse().unwrap()];
    HttpSender::new(
        Arc::new(Guard::new(loopback, false)),
        HttpOptions::default(),
    )
    .unwrap()
}

fn delivery(payload: &'static [u8]) -> Delivery {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let event = Event {
        id: EventId::derive(&[payload]),
        app_id: AppId::from_bytes([1; 16]),
        event_type: "order.paid".parse().unwrap(),
        channels: Vec::new(),
        uid: None,
        content_type: "application/json".to_owned(),
        payload: Bytes::from_static(payload),
        accepted_at: now,
        trace: TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .map(|trace| trace.with_state("vendor=1")),
        origin: EventOrigin::Accepted,
    };
    Delivery::of_event(
        &event,
        (0, 0),
        EndpointId::from_bytes([2; 16]),
        1,
        Class::Normal,
        now,
    )
}

pub(crate) fn to(url: &str, timeout: Duration) -> Outgoing {
    let policy = EndpointPolicy {
        headers: [("x-tenant".to_owned(), "blue".to_owned())].into(),
        ..EndpointPolicy::default()
    };
    let endpoint = Endpoint {
        url: url.parse().unwrap(),
        ..endpoint(1, policy)
    };
    Outgoing {
        target: Arc::new(Target::prepare(Arc::new(endpoint)).unwrap()),
        delivery: Arc::new(delivery(b"{\"n\":1}")),
        trace: None,
        at: Timestamp::from_millis(1_700_000_000_000),
        timeout,
    }
}

/// Reads one request with a `content-length`; `None` at the end of the connection.
pub(crate) async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap_or("0").parse().unwrap() {
                return Some(text);
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => read.extend_from_slice(&part[..n]),
        }
    }
}

/// A receiver that answers each request to `/hang` never and to every other path with `answer`. Returns its address and
/// what it is sent: the number of the connection, and the request.
pub(crate) async fn receiver(answer: &'static [u8]) -> (String, mpsc::Receiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (to, received) = mpsc::channel(1000);
    tokio::spawn(async move {
        for connection in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let to = to.clone();
            tokio::spawn(async move {
                while let Some(request) = request(&mut stream).await {
                    let hangs = request.starts_with("POST /hang");
                    to.send((connection, request)).await.unwrap();
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, received)
}

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_has_the_signature_and_the_headers_of_its_endpoint() {
    let (address, mut received) = receiver(OK).await;
    let answer = sender()
        .send(to(&format!("{address}/hook?a=1"), TIMEOUT))
        .await
        .unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    let (_, request) = received.recv().await.unwrap();
    assert!(
        request.starts_with("POST /hook?a=1 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\n{\"n\":1}"), "{request}");
    let delivery = delivery(b"{\"n\":1}");
    let signer = Target::prepare(Arc::new(endpoint(1, EndpointPolicy::default())))
        .unwrap()
        .signer;
    let signature = signer.sign(
        &delivery.event_id.to_string(),
        1_700_000_000,
        &delivery.payload,
    );
    for header in [
        format!("webhook-id: {}", delivery.event_id),
        "webhook-timestamp: 1700000000".to_owned(),
        format!("webhook-signature: {signature}"),
        "content-type: application/json".to_owned(),
        "x-tenant: blue".to_owned(),
        concat!("user-agent: Postrider/", env!("CARGO_PKG_VERSION")).to_owned(),
        format!(
            "traceparent: {}",
            delivery.trace.as_ref().unwrap().traceparent()
        ),
        "tracestate: vendor=1".to_owned(),
    ] {
        assert!(
            request.lines().any(|line| line == header),
            "no \"{header}\" in\n{request}"
        );
    }
    assert!(!request.to_lowercase().contains("accept-encoding"));
}

#[tokio::test]
async fn of_two_endpoints_on_one_host_and_port_the_one_that_hangs_does_not_delay_the_other() {
    let (address, _received) = receiver(OK).await;
    let sender = Arc::new(sender());
    let (hang, good) = (format!("{address}/hang"), format!("{address}/good"));
    let hanging: Vec<_> = (0..100)
        .map(|_| {
            let (sender, outgoing) = (Arc::clone(&sender), to(&hang, 6 * TIMEOUT));
            tokio::spawn(async move { sender.send(outgoing).await })
        })
        .collect();
    let all_good = async {
        for _ in 0..100 {
            assert_eq!(sender.send(to(&good, TIMEOUT)).await.unwrap().status, 200);
        }
    };
    tokio::time::timeout(TIMEOUT, all_good)
        .await
        .expect("the other endpoint waits for the one that hangs");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_timed_out() {
    let (address, _received) = receiver(OK).await;
    let outgoing = to(&format!("{address}/hang"), Duration::from_millis(50));
    assert!(matches!(
        sender().send(outgoing).await,
        Err(Failure::TimedOut(_))
    ));
}

/// Sends to a receiver that answers with `answer`, then with `drip` again and again until the other side closes, if it
/// is not empty, and otherwise closes. Returns the answer, and how long it took.
async fn answered_in_part(
    answer: &'static [u8],
    drip: &'static [u8],
    timeout: Duration,
) -> (postrider_delivery::Answer, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let dripping = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream.write_all(answer).await.unwrap();
        while !drip.is_empty() && stream.write_all(drip).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let began = std::time::Instant::now();
    let answer = sender().send(to(&address, timeout)).await.unwrap();
    let took = began.elapsed();
    tokio::time::timeout(TIMEOUT, dripping)
        .await
        .expect("the connection stays open")
        .unwrap();
    (answer, took)
}

#[tokio::test]
async fn a_dripping_answer_is_read_until_the_timeout_and_its_status_decides() {
    let timeout = Duration::from_millis(300);
    for (status, head) in [
        (
            200,
            &b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\nbegin"[..],
        ),
        (
            503,
            b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 60000\r\n\r\nbegin",
        ),
    ] {
        let (answer, took) = answered_in_part(head, b".", timeout).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.starts_with(b"begin"), "{:?}", answer.body);
        let asked = (status == 503).then_some(Duration::from_secs(7));
        assert_eq!(answer.retry_after, asked);
        assert!(took >= timeout && took < TIMEOUT, "{took:?}");
    }
}

#[tokio::test]
async fn of_an_answer_whose_body_breaks_the_status_decides_and_what_came_is_kept() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\nno chunk\r\n",
    ] {
        let (answer, _) = answered_in_part(answer, b"", TIMEOUT).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"begin"[..]));
    }
}

#[tokio::test]
async fn of_a_large_answer_only_the_beginning_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
            .await
            .unwrap();
        // Ends when the other side closes, as it must.
        while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
    });
    let answer = sender().send(to(&address, TIMEOUT)).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 4096));
    tokio::time::timeout(TIMEOUT, flood)
        .await
        .expect("the rest is still being read")
        .unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_retry_after_is_read() {
    let (address, mut received) = receiver(
        b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /other\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let answer = sender().send(to(&address, TIMEOUT)).await.unwrap();
    assert_eq!(
        (answer.status, answer.retry_after),
        (307, Some(Duration::from_secs(7)))
    );
    received.recv().await.unwrap();
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failure = sender().send(to(&address, TIMEOUT)).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Unreachable(why) if why.contains("refused")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn an_address_that_may_not_be_called_is_forbidden_by_number_and_by_name() {
    let guarded = HttpSender::new(
        Arc::new(Guard::new(Vec::new(), false)),
        HttpOptions::default(),
    )
    .unwrap();
    for url in [
        "http://127.0.0.1:9/",
        "http://[::1]:9/",
        "http://localhost:9/",
        "http://169.254.169.254/",
    ] {
        let failure = guarded.send(to(url, TIMEOUT)).await.unwrap_err();
        assert!(
            matches!(failure, Failure::Forbidden(_)),
            "{url}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_http_is_unreachable() {
    let (address, _received) = receiver(b"220 mail.example ESMTP\r\n").await;
    let failure = sender().send(to(&address, TIMEOUT)).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
}
