//! kill -9 before and after each durable write, exactly there: nothing accepted is lost, and what comes again is what the
//! place explains.

mod embedded;
mod source;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postrider_testkit::{Server, eventually, setting};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cluster::fail_points::KAFKA;
use crate::world::DEADLINE;

/// Rounds at once: each waits more than it works, and has a server of its own.
const AT_ONCE: usize = 4;

/// Where nothing came for so long, nothing is on its way.
const QUIET: Duration = Duration::from_millis(300);

/// A place and what may be seen of a kill there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    name: &'static str,
    /// Which passage is stopped: late enough that other work lies around it.
    passage: u64,
    by: By,
    again: Again,
}

/// What brings a process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Events to endpoints that take them, fail for a while, and never take them.
    Events,
    /// The same event sent again until it is answered.
    Keys,
    /// A replay of dead letters.
    Replay,
    /// One that is asked for, and asked for again where no answer came.
    Asking,
    /// A resend, likewise.
    Resend,
    /// An endpoint that says that it is gone.
    Gone,
}

/// What may come again after the kill, beside what it found in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Nothing: the kill waits until nothing is in flight and everything is written.
    Nothing,
    /// What was answered and not written, because the worker or the log under it had stopped: what the log holds so.
    Unwritten,
    /// One event, under its id: written, and its key not confirmed, so that it is written again.
    Event,
    /// One step of a replay: published, and not recorded as such.
    Step,
    /// So many resends, which were asked for.
    Resends(u64),
}

const fn point(name: &'static str, passage: u64, by: By, again: Again) -> Point {
    Point {
        name,
        passage,
        by,
        again,
    }
}

/// Every place that one process on the embedded pair passes; those that wait for the end of a lease first.
const EMBEDDED: [Point; 42] = [
    point("idempotency.claim.before", 3, By::Keys, Again::Nothing),
    point("idempotency.claim.after", 3, By::Keys, Again::Nothing),
    point("idempotency.confirm.before", 3, By::Keys, Again::Event),
    point("idempotency.confirm.after", 3, By::Keys, Again::Nothing),
    point("replay.take.before", 1, By::Replay, Again::Nothing),
    point("replay.take.after", 1, By::Replay, Again::Nothing),
    point("replay.publish.before", 1, By::Replay, Again::Nothing),
    point("replay.publish.after", 1, By::Replay, Again::Step),
    point("replay.advance.before", 1, By::Replay, Again::Step),
    point("replay.advance.after", 1, By::Replay, Again::Nothing),
    point("replay.insert.before", 1, By::Asking, Again::Nothing),
    point("replay.insert.after", 1, By::Asking, Again::Nothing),
    point("resend.append.before", 1, By::Resend, Again::Resends(1)),
    point("resend.append.after", 1, By::Resend, Again::Resends(2)),
    point("recorder.disable.before", 1, By::Gone, Again::Nothing),
    point("recorder.disable.after", 1, By::Gone, Again::Nothing),
    point("ingest.append.before", 9, By::Events, Again::Nothing),
    point("ingest.append.after", 9, By::Events, Again::Nothing),
    point("fanout.complete.before", 7, By::Events, Again::Nothing),
    point("fanout.complete.after", 7, By::Events, Again::Nothing),
    point("worker.complete.before", 7, By::Events, Again::Unwritten),
    point("worker.complete.after", 7, By::Events, Again::Unwritten),
    point("pump.retry.before", 1, By::Events, Again::Nothing),
    point("pump.retry.after", 1, By::Events, Again::Nothing),
    point("pump.park.before", 1, By::Events, Again::Nothing),
    point("pump.park.after", 1, By::Events, Again::Nothing),
    point("recorder.store.before", 2, By::Events, Again::Nothing),
    point("recorder.store.after", 2, By::Events, Again::Nothing),
    point("recorder.complete.before", 2, By::Events, Again::Nothing),
    point("recorder.complete.after", 2, By::Events, Again::Nothing),
    point("deadletter.store.before", 2, By::Events, Again::Nothing),
    point("deadletter.store.after", 2, By::Events, Again::Nothing),
    point("deadletter.complete.before", 2, By::Events, Again::Nothing),
    point("deadletter.complete.after", 2, By::Events, Again::Nothing),
    point("embedded.commit.before", 90, By::Events, Again::Unwritten),
    point("embedded.commit.after", 90, By::Events, Again::Unwritten),
    point("embedded.sync.before", 20, By::Events, Again::Nothing),
    point("embedded.sync.after", 20, By::Events, Again::Nothing),
    point(
        "embedded.checkpoint.before",
        1,
        By::Events,
        Again::Unwritten,
    ),
    point("embedded.checkpoint.after", 1, By::Events, Again::Unwritten),
    point("embedded.trim.before", 3, By::Events, Again::Unwritten),
    point("embedded.trim.after", 3, By::Events, Again::Unwritten),
];

/// Carries every round out, a few at once, and names those that failed.
async fn all<R: Future<Output = ()> + 'static>(points: &[Point], round: fn(Point) -> R) {
    static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
    let mut rounds = JoinSet::new();
    // For one who looks for a fault at some of them.
    let wanted = setting("POSTRIDER_TEST_POINTS", String::new());
    let points = points.iter().filter(|one| one.name.starts_with(&wanted));
    for point in points.copied() {
        rounds.spawn(async move {
            let _turn = TURNS.acquire().await.unwrap();
            let began = Instant::now();
            // A world is not sent between threads.
            let here = Handle::current();
            let held = tokio::task::spawn_blocking(move || here.block_on(round(point)));
            let held = held.await.is_ok();
            println!("{}: {:.1} s", point.name, began.elapsed().as_secs_f64());
            (!held).then_some(point.name)
        });
    }
    let rounds = rounds.join_all().await;
    let failed: Vec<_> = rounds.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// Waits until `server` has stopped at the point of this name. Returns a moment shortly before it did.
pub(crate) async fn reached(server: &Server, point: &str) -> Instant {
    let line = postrider_failpoint::reached(point);
    let mut looked = Instant::now();
    let what = format!("{point} is reached");
    let reached = eventually(&what, DEADLINE, async || {
        let before = std::mem::replace(&mut looked, Instant::now());
        server.log().contains(&line).then_some(before)
    });
    reached.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_or_after_any_durable_write_nothing_is_lost_and_no_more_repeats_than_is_promised()
 {
    all(&EMBEDDED, embedded::round).await;
}

#[test]
fn every_fail_point_stands_in_the_table_and_in_one_place_of_the_code() {
    let mut written = source::points();
    let count = written.len();
    written.sort_unstable();
    written.dedup();
    assert_eq!(count, written.len(), "a name stands twice: {written:?}");
    let written: BTreeSet<_> = written.iter().map(String::as_str).collect();
    let embedded = EMBEDDED.iter().map(|point| point.name);
    let on_kafka = KAFKA.iter().flat_map(|(_, points)| *points);
    let known: BTreeSet<_> = embedded.chain(on_kafka.map(|(name, _)| *name)).collect();
    assert_eq!(written, known);
}

#[test]
fn what_a_build_is_searched_for_is_what_fail_points_bring() {
    let makefile = include_str!("../../../../../Makefile");
    let searched = format!("grep -q {} ", postrider_failpoint::VARIABLE);
    assert!(makefile.contains(&searched));
}
