use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use postrider_guard::{
    GuardedResolver, Limits, Lookup, LookupError, Refused, refusal_in, unresolved_in,
};
use reqwest::dns::Resolve;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::guard;

/// Gives one prepared answer to each question, in turn.
struct Answers(Mutex<VecDeque<Vec<SocketAddr>>>);

impl Lookup for Answers {
    async fn lookup(&self, _host: &str) -> Result<Vec<SocketAddr>, LookupError> {
        let next = self.0.lock().unwrap().pop_front();
        next.ok_or_else(|| LookupError::NoSuchName("no answer left".to_owned()))
    }
}

fn resolver(allow: &[&str], answers: &[&[&str]]) -> GuardedResolver {
    let parse = |answer: &&[&str]| {
        answer
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 0))
            .collect()
    };
    let answers = Answers(Mutex::new(answers.iter().map(parse).collect()));
    // Each is asked for, none that was given before.
    let limits = Limits {
        fresh: Duration::ZERO,
        last: Duration::ZERO,
        ..Limits::default()
    };
    GuardedResolver::with_lookup(Arc::new(guard(allow)), answers, limits)
}

/// What the resolver says of `host`: addresses, or the refusal.
async fn resolve(resolver: &GuardedResolver, host: &str) -> Result<Vec<String>, Refused> {
    match resolver.resolve(host.parse().unwrap()).await {
        Ok(addresses) => Ok(addresses.map(|address| address.ip().to_string()).collect()),
        Err(error) => Err(refusal_in(&*error).cloned().expect("refused by the guard")),
    }
}

fn client(resolver: GuardedResolver) -> reqwest::Client {
    let redirect = reqwest::redirect::Policy::none();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect)
        .dns_resolver(resolver)
        .build()
        .unwrap()
}

/// A server that answers every request on its own connection, and its port.
async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    port
}

#[tokio::test]
async fn a_public_answer_passes_in_its_order() {
    let resolver = resolver(&[], &[&["2606:4700::1111", "1.1.1.1"]]);
    assert_eq!(
        resolve(&resolver, "a.example").await.unwrap(),
        ["2606:4700::1111", "1.1.1.1"]
    );
}

#[tokio::test]
async fn one_refused_address_refuses_the_whole_answer_wherever_it_stands() {
    let answers: [&[&str]; 3] = [
        &["10.0.0.1", "1.1.1.1"],
        &["1.1.1.1", "10.0.0.1"],
        &["1.1.1.1", "10.0.0.1", "8.8.8.8"],
    ];
    let resolver = resolver(&[], &answers);
    for _ in answers {
        let refused = resolve(&resolver, "a.example").await.unwrap_err();
        assert!(matches!(refused, Refused::Special { ip, .. } if ip.to_string() == "10.0.0.1"));
    }
}

#[tokio::test]
async fn an_empty_answer_is_refused() {
    assert_eq!(
        resolve(&resolver(&[], &[&[]]), "a.example").await,
        Err(Refused::NoAddress)
    );
}

#[tokio::test]
async fn a_name_that_changes_its_address_between_calls_gains_nothing() {
    let answers: [&[&str]; 3] = [&["1.1.1.1"], &["169.254.169.254"], &["1.1.1.1"]];
    let resolver = resolver(&[], &answers);
    assert!(resolve(&resolver, "a.example").await.is_ok());
    assert!(resolve(&resolver, "a.example").await.is_err());
    assert!(resolve(&resolver, "a.example").await.is_ok());
}

#[tokio::test]
async fn an_answer_that_is_kept_for_a_moment_is_judged_at_each_connection() {
    let answers = Answers(Mutex::new([vec!["10.0.0.1:0".parse().unwrap()]].into()));
    let guard = guard(&["10.0.0.0/8"]);
    let limits = Limits {
        fresh: Duration::from_secs(3600),
        ..Limits::default()
    };
    let resolver = GuardedResolver::with_lookup(Arc::new(guard.clone()), answers, limits);
    assert_eq!(resolve(&resolver, "a.example").await.unwrap(), ["10.0.0.1"]);
    guard.replace(Vec::new(), false);
    assert!(resolve(&resolver, "a.example").await.is_err());
    guard.replace(vec!["10.0.0.1/32".parse().unwrap()], false);
    assert_eq!(resolve(&resolver, "a.example").await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn localhost_means_the_allowed_loopback_addresses_whatever_a_resolver_would_say() {
    let asked_nothing = |allow| resolver(allow, &[]);
    for host in ["localhost", "app.localhost", "localhost."] {
        let refused = resolve(&asked_nothing(&[]), host).await.unwrap_err();
        assert!(matches!(refused, Refused::LocalName { .. }));
        assert_eq!(
            resolve(&asked_nothing(&["127.0.0.0/8"]), host)
                .await
                .unwrap(),
            ["127.0.0.1"]
        );
        let both = asked_nothing(&["127.0.0.0/8", "::1/128"]);
        assert_eq!(resolve(&both, host).await.unwrap(), ["127.0.0.1", "::1"]);
    }
}

#[tokio::test]
async fn the_system_resolver_is_guarded_too() {
    let addresses = postrider_guard::SystemLookup
        .lookup("127.0.0.1")
        .await
        .unwrap();
    let refused = guard(&[]).check_resolved(&addresses).unwrap_err();
    assert!(matches!(
        refused,
        Refused::Special {
            purpose: "loopback",
            ..
        }
    ));
    let unguarded = GuardedResolver::new(Arc::new(guard(&["127.0.0.0/8"])), Limits::default());
    assert_eq!(
        resolve(&unguarded, "127.0.0.1").await.unwrap(),
        ["127.0.0.1"]
    );
}

#[tokio::test]
async fn a_client_connects_to_what_was_checked_and_its_error_carries_the_refusal() {
    let port = server().await;
    let client = client(resolver(&["127.0.0.0/8"], &[&["127.0.0.1"], &["10.0.0.1"]]));
    let url = format!("http://hooks.example:{port}/in");
    assert_eq!(client.post(&url).send().await.unwrap().status(), 204);
    let error = client.post(&url).send().await.unwrap_err();
    let refused = refusal_in(&error).expect("the second answer is refused");
    assert!(matches!(refused, Refused::Special { ip, .. } if ip.to_string() == "10.0.0.1"));
}

#[tokio::test]
async fn an_error_that_is_not_ours_carries_no_refusal() {
    let error = client(resolver(&[], &[]))
        .get("http://hooks.example/")
        .send()
        .await
        .unwrap_err();
    assert_eq!(refusal_in(&error), None);
    assert!(unresolved_in(&error).is_some());
}
