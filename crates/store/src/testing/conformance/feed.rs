//! The feed of changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postrider_model::{Clock, SystemClock};

use super::Harness;
use super::config::event_type;
use super::samples::{application, endpoint, known_application, token};
use crate::{Change, Store, TokenScope};

pub async fn from_zero_the_feed_shows_all_that_is_there_and_nothing_that_is_gone(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let empty = store.changes(0).await.unwrap();
    assert_eq!(empty.items, []);
    let app = store.insert_application(&application("A")).await.unwrap();
    let gone = store.insert_application(&application("B")).await.unwrap();
    let hook = store.insert_endpoint(&endpoint(app.id)).await.unwrap();
    let kind = store.insert_event_type(&event_type("a")).await.unwrap();
    let key = store.insert_token(&token(1, TokenScope::Operator)).await;
    let key = key.unwrap();
    store.delete_application(gone.id).await.unwrap();
    let changes = store.changes(0).await.unwrap();
    let expected = [
        Change::Application(Arc::new(app)),
        Change::Endpoint(Arc::new(hook)),
        Change::EventType(Arc::new(kind)),
        Change::Token(Arc::new(key)),
    ];
    assert_eq!(changes.items, expected);
    assert!(changes.next <= changes.version);
}

pub async fn later_the_feed_shows_only_what_is_newer(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let hook = store.insert_endpoint(&endpoint(app)).await.unwrap();
    let first = store.changes(0).await.unwrap();
    let nothing = store.changes(first.next).await.unwrap();
    assert_eq!(nothing.items, []);
    assert_eq!(nothing.version, first.version);
    let once = store.replace_endpoint(&hook).await.unwrap();
    let twice = store.replace_endpoint(&once).await.unwrap();
    let second = store.changes(first.next).await.unwrap();
    assert_eq!(second.items, [Change::Endpoint(Arc::new(twice.clone()))]);
    assert!(second.version >= twice.version && second.version > first.version);
}

pub async fn versions_grow_with_every_change(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let mut last = 0;
    let mut grows = |version: u64| {
        assert!(version > last, "{version} follows {last}");
        last = version;
    };
    let app = store.insert_application(&application("A")).await.unwrap();
    grows(app.version);
    grows(store.replace_application(&app).await.unwrap().version);
    let hook = store.insert_endpoint(&endpoint(app.id)).await.unwrap();
    grows(hook.version);
    grows(store.replace_endpoint(&hook).await.unwrap().version);
    store.delete_endpoint(app.id, hook.id).await.unwrap();
    grows(store.changes(1).await.unwrap().version);
    let kind = store.insert_event_type(&event_type("a")).await.unwrap();
    grows(kind.version);
    let store = harness.reopen(store).await;
    let key = store.insert_token(&token(1, TokenScope::Operator)).await;
    grows(key.unwrap().version);
    store.delete_application(app.id).await.unwrap();
    grows(store.changes(1).await.unwrap().version);
}

pub async fn a_removal_is_shown_to_whoever_knew_the_thing(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let one = store.insert_endpoint(&endpoint(app)).await.unwrap();
    let two = store.insert_endpoint(&endpoint(app)).await.unwrap();
    let kind = store.insert_event_type(&event_type("a")).await.unwrap();
    let known = store.changes(0).await.unwrap();
    store.delete_event_type(&kind.name).await.unwrap();
    store.delete_application(app).await.unwrap();
    let store = harness.reopen(store).await;
    let changes = store.changes(known.next).await.unwrap();
    let (first, rest) = changes.items.split_first().unwrap();
    assert_eq!(*first, Change::EventTypeRemoved(kind.name));
    assert_eq!(rest.len(), 3);
    assert!(rest.contains(&Change::EndpointRemoved(app, one.id)));
    assert!(rest.contains(&Change::EndpointRemoved(app, two.id)));
    assert!(rest.contains(&Change::ApplicationRemoved(app)));
    assert_eq!(store.changes(changes.next).await.unwrap().items, []);
}

pub async fn a_thing_made_again_under_its_name_is_shown_as_it_is_now(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let kind = event_type("a");
    store.insert_event_type(&kind).await.unwrap();
    let known = store.changes(0).await.unwrap();
    store.delete_event_type(&kind.name).await.unwrap();
    let again = store.insert_event_type(&kind).await.unwrap();
    let changes = store.changes(known.next).await.unwrap();
    let now = Change::EventType(Arc::new(again));
    assert_eq!(changes.items.last(), Some(&now));
}

/// Readers that follow the feed while many write see every version that was given.
pub async fn no_change_is_hidden_behind_a_later_one(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let since = store.changes(0).await.unwrap().next;
    let write = |_| {
        let store: Arc<dyn Store> = store.clone();
        tokio::spawn(async move {
            let mut versions = Vec::new();
            for _ in 0..20 {
                let made = store.insert_endpoint(&endpoint(app)).await.unwrap();
                versions.push(made.version);
            }
            versions
        })
    };
    let writers: Vec<_> = (0..5).map(write).collect();
    let (mut seen, mut since) = (BTreeSet::new(), since);
    while writers.iter().any(|writer| !writer.is_finished()) {
        read_on(&*store, &mut since, &mut seen).await;
        tokio::task::yield_now().await;
    }
    read_on(&*store, &mut since, &mut seen).await;
    for writer in writers {
        for version in writer.await.unwrap() {
            assert!(seen.contains(&version), "{version} was hidden");
        }
    }
}

async fn read_on(store: &dyn Store, since: &mut u64, seen: &mut BTreeSet<u64>) {
    let changes = store.changes(*since).await.unwrap();
    *since = changes.next;
    for change in changes.items {
        match change {
            Change::Endpoint(endpoint) => seen.insert(endpoint.version),
            other => panic!("{other:?} was not made"),
        };
    }
}

pub async fn a_change_that_failed_is_not_shown(harness: &mut dyn Harness) {
    let store = harness.open().await;
    store.insert_event_type(&event_type("a")).await.unwrap();
    let known = store.changes(0).await.unwrap();
    store.insert_event_type(&event_type("a")).await.unwrap_err();
    let changes = store.changes(known.next).await.unwrap();
    assert_eq!((changes.items, changes.next), (vec![], known.next));
}

pub async fn a_database_is_known_by_its_id(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let id = store.changes(0).await.unwrap().store;
    let store = harness.reopen(store).await;
    assert_eq!(store.changes(0).await.unwrap().store, id);
    drop(store);
    let another = harness.open().await;
    assert_ne!(another.changes(0).await.unwrap().store, id);
}

pub async fn who_has_not_heard_of_a_removal_that_is_forgotten_reads_everything_again(
    harness: &mut dyn Harness,
) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let gone = store.insert_endpoint(&endpoint(app)).await.unwrap();
    let before = store.changes(0).await.unwrap();
    assert!(before.whole);
    store.delete_endpoint(app, gone.id).await.unwrap();
    let after = store.changes(before.next).await.unwrap();
    assert!(!after.whole);
    let hook = store.insert_endpoint(&endpoint(app)).await.unwrap();
    let day = Duration::from_secs(24 * 3600);
    let now = SystemClock.now();
    assert_eq!(store.forget_removals(now.minus(day), 10).await.unwrap(), 0);
    assert_eq!(store.forget_removals(now.plus(day), 10).await.unwrap(), 1);
    assert_eq!(store.forget_removals(now.plus(day), 10).await.unwrap(), 0);
    let store = harness.reopen(store).await;
    let late = store.changes(before.next).await.unwrap();
    assert!(late.whole);
    assert_eq!(late.items, store.changes(0).await.unwrap().items);
    let known = store.changes(after.next).await.unwrap();
    assert!(!known.whole);
    assert_eq!(known.items, [Change::Endpoint(Arc::new(hook))]);
}
