//! The producer: some connections, each with one request in flight, that repeat what was not answered.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::task::JoinSet;

use super::api::Api;
use super::customers::APPLICATION;
use super::orders;

/// How long one order is tried: longer than any restart.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// An order that was accepted.
pub(super) struct Accepted {
    /// The event's id, as 202 gave it.
    pub(super) id: String,
    /// When 202 came.
    pub(super) at: Instant,
}

/// What became of a run.
#[derive(Default)]
pub(super) struct Published {
    pub(super) accepted: Vec<Accepted>,
    /// Requests that brought no 202 and were sent again.
    pub(super) repeated: usize,
    pub(super) took: Duration,
}

/// Publishes these orders. `count` follows how many were accepted.
pub(super) async fn publish(
    api: &Api,
    numbers: Range<usize>,
    connections: usize,
    count: Arc<AtomicUsize>,
) -> anyhow::Result<Published> {
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut producers = JoinSet::new();
    for _ in 0..connections {
        let (api, next, count) = (api.clone(), Arc::clone(&next), Arc::clone(&count));
        producers.spawn(async move { produce(&api, &next, numbers.end, &count).await });
    }
    let mut all = Published::default();
    while let Some(done) = producers.join_next().await {
        let part = done??;
        all.accepted.extend(part.accepted);
        all.repeated += part.repeated;
    }
    all.took = began.elapsed();
    Ok(all)
}

async fn produce(
    api: &Api,
    next: &AtomicUsize,
    end: usize,
    count: &AtomicUsize,
) -> anyhow::Result<Published> {
    let mut published = Published::default();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= end {
            return Ok(published);
        }
        let request = orders::order(number);
        let began = Instant::now();
        let id = loop {
            if let Some(id) = api.publish(APPLICATION, request.clone()).await {
                break id;
            }
            published.repeated += 1;
            if began.elapsed() > GIVE_UP_AFTER {
                bail!(
                    "order {number} was not accepted within {} s",
                    GIVE_UP_AFTER.as_secs()
                );
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        };
        let at = Instant::now();
        published.accepted.push(Accepted { id, at });
        count.fetch_add(1, Ordering::SeqCst);
    }
}
