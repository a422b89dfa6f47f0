//! What is shown, in order. Each scene says what it proves. These two are of the endpoint that answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::Rng;
use serde_json::json;

use super::customers::APPLICATION;
use super::publisher::{self, Published};
use super::screen::grouped;
use super::{Stage, troubles};

/// How long nothing may change before something counts as not coming, on a machine that does much else.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Attempts in flight at once to one endpoint, at most: `delivery.in_flight_per_endpoint`, which is not set here.
const IN_FLIGHT: usize = 64;

/// Published around the kill at least: so many that if all came again, it would be seen.
const LEAST_AROUND_A_KILL: usize = 8 * IN_FLIGHT;

/// Waits as long as something changes.
struct Patience {
    last: usize,
    until: Instant,
}

impl Patience {
    fn new() -> Self {
        Self {
            last: 0,
            until: Instant::now() + PATIENCE,
        }
    }

    /// Takes note of how far it is; true once that has not changed for too long.
    fn lost(&mut self, now_at: usize) -> bool {
        if now_at != self.last {
            *self = Self {
                last: now_at,
                ..Self::new()
            };
        }
        Instant::now() > self.until
    }
}

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    // These two fail and are retried while the scenes before theirs are played.
    let paid = publish_one(stage, "invoice.paid").await?;
    let overdue = publish_one(stage, "invoice.overdue").await?;
    deliver(stage).await?;
    kill(stage).await?;
    troubles::retry(stage, &paid).await?;
    troubles::bury_and_replay(stage, &overdue).await
}

async fn publish_one(stage: &Stage, event_type: &str) -> anyhow::Result<String> {
    let payload = json!({"type": event_type, "data": {"invoice": "INV-2041", "amount": "120.00"}});
    let body = json!({"eventType": event_type, "payload": payload}).to_string();
    let id = stage.api.publish(APPLICATION, body).await;
    id.with_context(|| format!("an event of type {event_type} was not accepted"))
}

async fn deliver(stage: &mut Stage) -> anyhow::Result<()> {
    let (events, connections) = (stage.options.events, stage.options.connections);
    stage.screen.scene(
        1,
        format_args!(
            "{} orders over {connections} connections: accepted, signed, delivered",
            grouped(events)
        ),
    )?;
    let count = Arc::new(AtomicUsize::new(0));
    let (api, follow) = (stage.api.clone(), Arc::clone(&count));
    let publishing =
        tokio::spawn(async move { publisher::publish(&api, 0..events, connections, follow).await });
    let mut patience = Patience::new();
    loop {
        let so_far = stage.customers.warehouse.seen().first.len();
        stage.screen.progress("arrived", so_far, events)?;
        if so_far >= events || patience.lost(so_far) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    stage.screen.progress_done()?;
    let published = publishing.await??;
    report(stage, &published)
}

/// What came of the events of the first scene.
struct Arrived {
    /// From each 202 to the first arrival, shortest first.
    waits: Vec<Duration>,
    /// From the first 202 to the last arrival.
    took: Duration,
}

impl Arrived {
    fn of(published: &Published, first: &HashMap<String, Instant>) -> Self {
        let accepted = &published.accepted;
        let arrived = accepted
            .iter()
            .filter_map(|one| Some((one.at, *first.get(&one.id)?)));
        let mut waits: Vec<Duration> = arrived
            .clone()
            .map(|(accepted, arrived)| arrived.saturating_duration_since(accepted))
            .collect();
        waits.sort_unstable();
        let last = arrived.map(|(_, arrived)| arrived).max();
        let began = accepted.iter().map(|one| one.at).min();
        let took = last.zip(began).map_or(Duration::ZERO, |(last, began)| {
            last.saturating_duration_since(began)
        });
        Self { waits, took }
    }
}

fn report(stage: &mut Stage, published: &Published) -> anyhow::Result<()> {
    let events = stage.options.events;
    let seen = stage.customers.warehouse.seen();
    let Arrived { waits, took } = Arrived::of(published, &seen.first);
    let (arrived, repeats, refused) = (waits.len(), seen.repeats, seen.refused);
    let (verified, bytes) = (seen.verified, seen.bytes / arrived.max(1));
    drop(seen);
    let accepted = published.accepted.len();
    let screen = &mut stage.screen;
    screen.say(format_args!(
        "accepted   {} in {:.2} s from the first request: {} a second, each on disk before its 202",
        grouped(accepted),
        published.took.as_secs_f64(),
        a_second(accepted, published.took)
    ))?;
    screen.say(format_args!(
        "arrived    {} in {:.2} s from the first 202: {} a second, {bytes} bytes each",
        grouped(arrived),
        took.as_secs_f64(),
        a_second(arrived, took)
    ))?;
    screen.say(format_args!(
        "latency    from 202 to the endpoint: p50 {}, p99 {}",
        ms(quantile(&waits, 0.50)),
        ms(quantile(&waits, 0.99))
    ))?;
    let (came, all) = (grouped(arrived), grouped(events));
    screen.promise(
        arrived == events,
        format_args!("every accepted event arrived: {came} of {all}"),
    )?;
    screen.promise(
        refused == 0,
        format_args!("every signature verified: {}", grouped(verified)),
    )?;
    screen.promise(repeats == 0, format_args!("duplicates: {repeats}"))?;
    Ok(())
}

async fn kill(stage: &mut Stage) -> anyhow::Result<()> {
    let events = (stage.options.events / 2).max(LEAST_AROUND_A_KILL);
    let before = stage.customers.warehouse.seen().repeats;
    stage.screen.scene(
        2,
        format_args!("kill -9 while {} more are published", grouped(events)),
    )?;
    let numbers = stage.options.events..stage.options.events + events;
    let count = Arc::new(AtomicUsize::new(0));
    let (api, follow, connections) = (
        stage.api.clone(),
        Arc::clone(&count),
        stage.options.connections,
    );
    let all = numbers.clone();
    let publishing =
        tokio::spawn(async move { publisher::publish(&api, all, connections, follow).await });
    let share = rand::rng().random_range(0.2..0.8);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "thousands"
    )]
    let moment = (events as f64 * share) as usize;
    while count.load(Ordering::SeqCst) < moment && !publishing.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let accepted_before = count.load(Ordering::SeqCst);
    let away = stage.server.kill_and_restart().await?;
    stage.screen.say(format_args!(
        "killed     after {} were accepted; ready again {} ms later, on the same directory",
        grouped(accepted_before),
        away.as_millis()
    ))?;
    let published = publishing.await??;
    let missing = wait_for_all(stage, &published).await?;
    judge_kill(stage, &published, numbers, before, missing)
}

/// Waits until everything accepted has arrived, and returns how much has not.
async fn wait_for_all(stage: &mut Stage, published: &Published) -> anyhow::Result<usize> {
    let all = published.accepted.len();
    let mut patience = Patience::new();
    loop {
        let missing = {
            let seen = stage.customers.warehouse.seen();
            published
                .accepted
                .iter()
                .filter(|accepted| !seen.first.contains_key(&accepted.id))
                .count()
        };
        if missing == 0 || patience.lost(missing) {
            stage.screen.progress_done()?;
            return Ok(missing);
        }
        stage.screen.progress("arrived", all - missing, all)?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn judge_kill(
    stage: &mut Stage,
    published: &Published,
    numbers: std::ops::Range<usize>,
    repeats_before: usize,
    missing: usize,
) -> anyhow::Result<()> {
    let accepted: BTreeSet<_> = published
        .accepted
        .iter()
        .map(|accepted| accepted.id.as_str())
        .collect();
    let seen = stage.customers.warehouse.seen();
    let repeats = seen.repeats - repeats_before;
    let orders = numbers
        .clone()
        .filter(|number| seen.orders.contains(number))
        .count();
    // Ids that no 202 was seen for: accepted, and the answer lost with the connection.
    let unseen = seen
        .first
        .len()
        .saturating_sub(stage.options.events + accepted.len());
    let refused = seen.refused;
    drop(seen);
    stage.screen.say(format_args!(
        "producer   {} requests brought no 202 and were sent again; {unseen} of them had been accepted, so {unseen} orders came under two ids",
        published.repeated
    ))?;
    let all = published.accepted.len();
    stage.screen.promise(
        missing == 0 && orders == numbers.len(),
        format_args!(
            "nothing accepted was lost: {} of {}",
            grouped(all - missing),
            grouped(all)
        ),
    )?;
    stage.screen.promise(
        repeats <= IN_FLIGHT,
        format_args!(
            "only what was in flight at the kill came again: {repeats}, with the same webhook-id"
        ),
    )?;
    stage
        .screen
        .promise(refused == 0, "every signature verified")?;
    Ok(())
}

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "thousands"
    )]
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn a_second(count: usize, took: Duration) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "thousands"
    )]
    let rate = (count as f64 / took.as_secs_f64().max(0.001)) as usize;
    grouped(rate)
}
