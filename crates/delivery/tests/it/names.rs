//! Endpoints whose names do not resolve, and hosts that cannot be reached, beside one that answers: over real sockets, with
//! a resolver of our own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postrider_delivery::{Answer, Failure, HttpOptions, HttpSender, Sender};
use postrider_guard::{Guard, Limits, Lookup, LookupError};
use tokio::sync::mpsc;

use crate::http::{OK, TIMEOUT, receiver, to};

/// The answer after which each attempt needs a connection of its own.
const OK_AND_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

/// All names are here, but that those below `dead.example` get no answer, and that all fail while it is `down`. Tells what it
/// is asked.
struct Here {
    down: Arc<AtomicBool>,
    asked: mpsc::Sender<String>,
}

impl Lookup for Here {
    async fn lookup(&self, host: &str) -> Result<Vec<SocketAddr>, LookupError> {
        let _ = self.asked.try_send(host.to_owned());
        if host.ends_with(".dead.example") {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::Relaxed) {
            return Err(LookupError::Temporary("try again".to_owned()));
        }
        Ok(vec!["127.0.0.1:0".parse().unwrap()])
    }
}

struct World {
    sender: Arc<HttpSender>,
    port: String,
    down: Arc<AtomicBool>,
    asked: mpsc::Receiver<String>,
}

impl World {
    async fn new(answer: &'static [u8], limits: Limits) -> Self {
        let (address, mut received) = receiver(answer).await;
        tokio::spawn(async move { while received.recv().await.is_some() {} });
        let allow = ["127.0.0.0/8", "224.0.0.0/4"].map(|net| net.parse().unwrap());
        let guard = Arc::new(Guard::new(allow.into(), false));
        let down = Arc::new(AtomicBool::new(false));
        let (tell, asked) = mpsc::channel(10_000);
        let here = Here {
            down: Arc::clone(&down),
            asked: tell,
        };
        let sender = HttpSender::with_lookup(guard, HttpOptions::default(), here, limits);
        Self {
            sender: Arc::new(sender.unwrap()),
            port: address.rsplit_once(':').unwrap().1.to_owned(),
            down,
            asked,
        }
    }

    fn send(
        &self,
        host: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send + use<> {
        let sender = Arc::clone(&self.sender);
        let url = format!("http://{host}:{}/in", self.port);
        async move { sender.send(to(&url, timeout)).await }
    }
}

#[tokio::test]
async fn endpoints_whose_names_get_no_answer_by_the_thousand_neither_delay_nor_charge_one_that_resolves()
 {
    let limits = Limits {
        // Each attempt asks, and no last address is taken instead.
        fresh: Duration::ZERO,
        prompt: Duration::from_secs(3600),
        ..Limits::default()
    };
    let world = World::new(OK_AND_CLOSE, limits.clone()).await;
    assert_eq!(
        world
            .send("well.example", TIMEOUT)
            .await
            .map(|answer| answer.status),
        Ok(200)
    );
    let dead = |n| tokio::spawn(world.send(&format!("n{n}.dead.example"), 2 * TIMEOUT));
    let dead: Vec<_> = (0..1000).map(dead).collect();
    let began = Instant::now();
    while world.sender.lookups_waiting() < 200 {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut made = 0;
    while made < 50 || world.sender.lookups_waiting() > 0 {
        let answer = world.send("well.example", TIMEOUT).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(200));
        made += 1;
    }
    let mut charged = 0;
    for attempt in dead {
        match attempt.await.unwrap() {
            Err(Failure::OwnFault(_)) => {}
            Err(Failure::Unreachable(_)) => charged += 1,
            other => panic!("{other:?}"),
        }
    }
    // Those that had their turn, at most.
    assert!(charged <= limits.others, "{charged} were charged");
}

#[tokio::test]
async fn an_attempt_that_ends_while_its_lookup_waits_for_its_turn_is_not_charged() {
    let limits = Limits {
        others: 1,
        ..Limits::default()
    };
    let mut world = World::new(OK, limits).await;
    let first = tokio::spawn(world.send("first.dead.example", Duration::from_secs(1)));
    assert_eq!(world.asked.recv().await.unwrap(), "first.dead.example");
    let second = world.send("second.dead.example", Duration::from_millis(200));
    let second = second.await;
    assert!(matches!(second, Err(Failure::OwnFault(_))), "{second:?}");
    let first = first.await.unwrap();
    assert!(matches!(first, Err(Failure::TimedOut(_))), "{first:?}");
}

#[tokio::test]
async fn a_resolver_that_fails_for_all_is_our_own_fault_and_a_name_that_fails_alone_is_not() {
    let limits = Limits {
        fresh: Duration::ZERO,
        last: Duration::ZERO,
        ..Limits::default()
    };
    let world = World::new(OK_AND_CLOSE, limits).await;
    let names = ["a.example", "b.example", "c.example", "d.example"];
    for name in names {
        assert!(world.send(name, TIMEOUT).await.is_ok());
    }
    world.down.store(true, Ordering::Relaxed);
    let alone = world.send("a.example", TIMEOUT).await;
    assert!(matches!(alone, Err(Failure::Unreachable(_))), "{alone:?}");
    let began = Instant::now();
    let mut ours = 0;
    while ours < 10 {
        assert!(began.elapsed() < Duration::from_secs(60));
        for name in names {
            match world.send(name, TIMEOUT).await {
                Err(Failure::OwnFault(_)) => ours += 1,
                Err(Failure::Unreachable(_)) if ours == 0 => {}
                other => panic!("{other:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.down.store(false, Ordering::Relaxed);
    assert!(world.send("a.example", TIMEOUT).await.is_ok());
    world.down.store(true, Ordering::Relaxed);
    let alone = world.send("b.example", TIMEOUT).await;
    assert!(matches!(alone, Err(Failure::Unreachable(_))), "{alone:?}");
}

#[tokio::test]
async fn hosts_without_a_route_are_our_own_fault_where_none_has_one_and_not_beside_one_that_answers()
 {
    let world = World::new(OK_AND_CLOSE, Limits::default()).await;
    // No connection can be made to a group: the system says that the network is unreachable, and sends nothing.
    let groups = ["224.0.0.251", "224.0.0.252", "224.0.0.253", "224.0.0.254"];
    let mut ends = Vec::new();
    for host in groups {
        ends.push(world.send(host, TIMEOUT).await);
    }
    let ours = |end: &Result<Answer, Failure>| match end {
        Err(Failure::OwnFault(_)) => true,
        Err(Failure::Unreachable(_)) => false,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        ends.iter().map(ours).collect::<Vec<_>>(),
        [false, false, true, true],
        "the third one tells"
    );
    for host in groups {
        assert!(world.send("well.example", TIMEOUT).await.is_ok());
        assert!(!ours(&world.send(host, TIMEOUT).await));
    }
}
