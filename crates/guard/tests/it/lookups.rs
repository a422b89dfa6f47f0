//! Names that do not resolve beside one that does, in tokio's paused time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider_guard::{GuardedResolver, Limits, Lookup, LookupError, Unresolved, unresolved_in};
use reqwest::dns::Resolve;
use tokio::time::{Instant, advance, sleep};

use crate::guard;

/// How a lookup goes.
#[derive(Debug, Clone)]
enum Goes {
    Well,
    /// No answer for so long, and then a failure.
    Hangs(Duration),
    Fails,
    NoSuchName,
}

/// A resolver that goes as it is told, by name or else by what stands behind the first full stop; counts what it is asked.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    goes: HashMap<String, Goes>,
    asked: HashMap<String, usize>,
    now: usize,
    most: usize,
}

const HANGS: Duration = Duration::from_secs(30);

impl Told {
    fn tell(&self, name: &str, goes: Goes) {
        self.0.lock().unwrap().goes.insert(name.to_owned(), goes);
    }

    fn asked(&self, name: &str) -> usize {
        self.0.lock().unwrap().asked.get(name).copied().unwrap_or(0)
    }

    /// Lookups at a time, at most.
    fn most(&self) -> usize {
        self.0.lock().unwrap().most
    }

    fn resolver(&self, limits: Limits) -> GuardedResolver {
        GuardedResolver::with_lookup(Arc::new(guard(&[])), self.clone(), limits)
    }
}

impl Lookup for Told {
    async fn lookup(&self, host: &str) -> Result<Vec<SocketAddr>, LookupError> {
        let goes = {
            let mut inner = self.0.lock().unwrap();
            *inner.asked.entry(host.to_owned()).or_default() += 1;
            inner.now += 1;
            inner.most = inner.most.max(inner.now);
            let (_, zone) = host.split_once('.').unwrap();
            let goes = inner.goes.get(host).or_else(|| inner.goes.get(zone));
            goes.cloned().unwrap_or(Goes::Well)
        };
        if let Goes::Hangs(time) = goes {
            sleep(time).await;
        }
        self.0.lock().unwrap().now -= 1;
        match goes {
            Goes::Well => Ok(vec!["1.1.1.1:0".parse().unwrap()]),
            Goes::Hangs(_) | Goes::Fails => Err(LookupError::Temporary("no answer".to_owned())),
            Goes::NoSuchName => Err(LookupError::NoSuchName("none".to_owned())),
        }
    }
}

async fn resolve(resolver: &GuardedResolver, host: &str) -> Result<(), Unresolved> {
    match resolver.resolve(host.parse().unwrap()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(unresolved_in(&*error).cloned().expect("unresolved")),
    }
}

fn is_ours(result: &Result<(), Unresolved>) -> bool {
    matches!(result, Err(Unresolved::OurFault(_)))
}

fn is_theirs(result: &Result<(), Unresolved>) -> bool {
    matches!(result, Err(Unresolved::TheirFault(_)))
}

/// Thousands of names are asked for at once, again and again, and no server answers for any of them.
fn flood(resolver: &GuardedResolver) -> Vec<tokio::task::JoinHandle<Vec<Result<(), Unresolved>>>> {
    let ask = |n: usize| {
        let resolver = resolver.clone();
        tokio::spawn(async move {
            let mut ends = Vec::new();
            for _ in 0..5 {
                ends.push(resolve(&resolver, &format!("n{n}.dead.example")).await);
                sleep(Duration::from_secs(5)).await;
            }
            ends
        })
    };
    (0..5000).map(ask).collect()
}

#[tokio::test(start_paused = true)]
async fn names_that_hang_by_the_thousand_do_not_delay_one_that_resolves() {
    let told = Told::default();
    told.tell("dead.example", Goes::Hangs(HANGS));
    // No answer stands for longer than it takes, and no old one is good enough: each is asked for.
    let limits = Limits {
        fresh: Duration::from_millis(1),
        ..Limits::default()
    };
    let resolver = told.resolver(limits.clone());
    resolve(&resolver, "well.example").await.unwrap();
    let flood = flood(&resolver);
    for n in 0..500 {
        advance(Duration::from_millis(100)).await;
        let began = Instant::now();
        resolve(&resolver, "well.example").await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "it waited, the {n}. time");
    }
    assert_eq!(told.asked("well.example"), 501, "the last one was not used");
    assert!(told.most() <= 2 * limits.others + 1, "{}", told.most());
    let (mut ours, mut theirs) = (0, 0);
    for ends in flood {
        for end in ends.await.unwrap() {
            assert!(is_ours(&end) || is_theirs(&end));
            *(if is_ours(&end) {
                &mut ours
            } else {
                &mut theirs
            }) += 1;
        }
    }
    assert!(
        ours > 20_000 && theirs > 100,
        "{ours} had no turn, {theirs} no answer"
    );
    assert_eq!(resolver.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_name_has_its_turn_beside_thousands_that_failed() {
    let told = Told::default();
    told.tell("dead.example", Goes::Fails);
    let resolver = told.resolver(Limits::default());
    for n in 0..5000 {
        let _ = resolve(&resolver, &format!("n{n}.dead.example")).await;
    }
    told.tell("dead.example", Goes::Hangs(HANGS));
    advance(Duration::from_secs(10)).await;
    let flood = flood(&resolver);
    sleep(Duration::from_secs(1)).await;
    assert!(resolver.queued() > 4000);
    let began = Instant::now();
    resolve(&resolver, "new.example").await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_servers_stop_answering_keeps_its_last_addresses_for_some_minutes() {
    let told = Told::default();
    let resolver = told.resolver(Limits::default());
    resolve(&resolver, "a.example").await.unwrap();
    told.tell("a.example", Goes::Hangs(HANGS));
    let stopped = Instant::now();
    advance(Duration::from_secs(6)).await;
    while stopped.elapsed() < Duration::from_secs(280) {
        let began = Instant::now();
        resolve(&resolver, "a.example").await.unwrap();
        assert!(began.elapsed() <= Duration::from_millis(1001));
        advance(Duration::from_secs(2)).await;
    }
    advance(Duration::from_secs(60)).await;
    assert!(is_theirs(&resolve(&resolver, "a.example").await));
    // One that its owner has taken away is gone at once.
    told.tell("b.example", Goes::Well);
    resolve(&resolver, "b.example").await.unwrap();
    told.tell("b.example", Goes::NoSuchName);
    advance(Duration::from_secs(6)).await;
    assert!(is_theirs(&resolve(&resolver, "b.example").await));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_once_for_all_who_ask_and_not_again_for_a_moment() {
    let told = Told::default();
    told.tell("slow.example", Goes::Hangs(Duration::from_secs(2)));
    let resolver = told.resolver(Limits::default());
    for goes in ["a.slow.example", "well.example"] {
        let all = (0..1000).map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolve(&resolver, goes).await })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap().is_ok(), goes == "well.example");
        }
        let _ = resolve(&resolver, goes).await;
        assert_eq!(told.asked(goes), 1);
        advance(Duration::from_secs(6)).await;
        let _ = resolve(&resolver, goes).await;
        assert_eq!(told.asked(goes), 2);
    }
}

/// Names of `dead.example` hang, and one at a time is asked.
fn one_at_a_time_of_those_that_hang() -> (Told, GuardedResolver) {
    let told = Told::default();
    told.tell("dead.example", Goes::Hangs(HANGS));
    let limits = Limits {
        others: 1,
        ..Limits::default()
    };
    let resolver = told.resolver(limits);
    (told, resolver)
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_all_gave_up_before_its_turn_is_never_asked() {
    let (told, resolver) = one_at_a_time_of_those_that_hang();
    let first = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "first.dead.example").await }
    });
    sleep(Duration::from_millis(1)).await;
    let second = resolve(&resolver, "second.dead.example").await;
    assert!(is_ours(&second), "{second:?}");
    assert!(is_theirs(&first.await.unwrap()));
    sleep(2 * HANGS).await;
    assert_eq!(told.asked("second.dead.example"), 0);
    assert_eq!(resolver.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_who_gives_up_is_told_whether_the_lookup_had_its_turn() {
    let (_, resolver) = one_at_a_time_of_those_that_hang();
    let began = Instant::now();
    let asking = ["first.dead.example", "second.dead.example"].map(|host| {
        let resolver = resolver.clone();
        tokio::spawn(async move { resolve(&resolver, host).await })
    });
    sleep(Duration::from_secs(1)).await;
    let first = resolver.unanswered("first.dead.example", began).unwrap();
    assert!(matches!(first, Unresolved::TheirFault(_)), "{first}");
    let second = resolver.unanswered("second.dead.example", began).unwrap();
    assert!(matches!(second, Unresolved::OurFault(_)), "{second}");
    assert_eq!(resolver.unanswered("third.dead.example", began), None);
    for asking in asking {
        asking.await.unwrap().unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn when_nothing_resolves_any_more_it_is_our_own_fault_and_when_one_fails_alone_it_is_not() {
    let told = Told::default();
    let limits = Limits {
        last: Duration::from_millis(1),
        fresh: Duration::from_millis(1),
        ..Limits::default()
    };
    let resolver = told.resolver(limits);
    let names = ["a.example", "b.example", "c.example", "d.example"];
    for name in names {
        resolve(&resolver, name).await.unwrap();
    }
    told.tell("a.example", Goes::Fails);
    for _ in 0..100 {
        advance(Duration::from_secs(5)).await;
        assert!(is_theirs(&resolve(&resolver, "a.example").await));
        resolve(&resolver, "b.example").await.unwrap();
    }
    told.tell("example", Goes::Fails);
    advance(Duration::from_secs(5)).await;
    let mut ends = Vec::new();
    for name in names {
        ends.push(is_ours(&resolve(&resolver, name).await));
    }
    assert_eq!(ends, [false, false, true, true], "the third one tells");
    advance(Duration::from_secs(5)).await;
    for name in names {
        assert!(is_ours(&resolve(&resolver, name).await));
    }
    // An answer that there is none is an answer.
    told.tell("d.example", Goes::NoSuchName);
    advance(Duration::from_secs(5)).await;
    assert!(is_theirs(&resolve(&resolver, "d.example").await));
    assert!(is_theirs(&resolve(&resolver, "a.example").await));
}

#[tokio::test(start_paused = true)]
async fn names_that_never_resolved_are_at_fault_however_many_they_are() {
    let told = Told::default();
    told.tell("dead.example", Goes::Fails);
    let resolver = told.resolver(Limits::default());
    resolve(&resolver, "well.example").await.unwrap();
    for n in 0..1000 {
        advance(Duration::from_secs(1)).await;
        let end = resolve(&resolver, &format!("n{n}.dead.example")).await;
        assert!(is_theirs(&end), "{end:?}");
    }
}
