//! What panels exist for, made to happen in a server with the embedded log.

use postrider_testkit::{Behaviour, Prometheus, eventually};
use serde_json::{Value, json};

use super::files::Query;
use crate::bad_input::execute;
use crate::world::{DEADLINE, World};

/// What takes a loss, a crash between two logs, a foreign hand, a log or store that fails in between, days, or a process
/// that has too few sockets or too little time for what its endpoints could take; it is asked all the same.
const NOT_HERE: [&str; 15] = [
    "postrider_fanout_lost_ranges_",
    "postrider_delivery_trimmed_unread_",
    "postrider_pump_trimmed_",
    "postrider_recorder_trimmed_",
    "postrider_deadletter_trimmed_",
    "postrider_delivery_repeats_",
    "postrider_delivery_commit_failures_",
    "postrider_registry_refresh_failures_",
    "postrider_delivery_malformed_",
    "route=\"rejected\"",
    "postrider_pump_too_large_",
    "postrider_store_rows_skipped_",
    "postrider_deadletter_deleted_",
    "postrider_fanout_too_large_",
    "postrider_delivery_oldest_waiting_",
];

pub(super) fn leaves_out(query: &Query) -> bool {
    NOT_HERE.iter().any(|name| query.text.contains(name))
}

/// Whether it takes a log that is full, and deliveries that are.
pub(super) fn only_when_full(query: &Query) -> bool {
    let full = [
        "postrider_part_ready",
        "postrider_ingest_rejected_",
        "postrider_log_stall_",
        "postrider_delivery_reading_paused",
    ];
    full.iter().any(|name| query.text.contains(name))
}

async fn replay_all(world: &World) -> String {
    let body = json!({ "filter": {} });
    let path = format!("/api/v1/app/{}/replay", world.app);
    let answer = world.api.post(&path, &body).await.unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

async fn until_replay(world: &World, id: &str, what: &str, is: impl Fn(&Value) -> bool) {
    let path = format!("/api/v1/app/{}/replay/{id}", world.app);
    let reached = eventually(what, DEADLINE, async || {
        let replay = world.api.get(&path).await.unwrap();
        is(&replay).then_some(())
    });
    reached.await.unwrap();
}

/// An endpoint that is gone, and dead letters of one that was disabled.
pub(super) async fn disable_and_replay(world: &World, failing: &str) {
    world.endpoint("/gone", Behaviour::Status(410)).await;
    world.publish(1).await;
    world.wait_for("/gone", 1).await;
    world.change(failing, json!({ "disabled": true })).await;
    let replay = replay_all(world).await;
    let failed = |replay: &Value| replay["failed"].as_u64() > Some(0);
    until_replay(world, &replay, "dead letters cannot be replayed", failed).await;
    // It fails again, for all that follows.
    world.change(failing, json!({ "disabled": false })).await;
}

/// A store that does not take certain rows: attempts, dead letters, and how far a replay is.
pub(super) async fn has_the_store_refuse(world: &World) {
    let store = world.launch.data().join("store.db");
    for table in ["attempts", "dead_letters"] {
        let refusing = format!(
            "CREATE TRIGGER no_{table} BEFORE INSERT ON {table} WHEN NEW.event_type = 'refused.event' \
             BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        );
        execute(&store, &refusing);
    }
    let nothing = json!({});
    let published = world.api.publish(&world.app, "refused.event", &nothing);
    published.await.unwrap();
    let letters = eventually("there is something to replay", DEADLINE, async || {
        world.publish(1).await;
        (world.dead_letters().await > 0).then_some(())
    });
    letters.await.unwrap();
    execute(
        &store,
        "CREATE TRIGGER no_progress BEFORE UPDATE ON replays WHEN NEW.done > OLD.done \
         BEGIN SELECT RAISE(ABORT, 'no further'); END",
    );
    let replay = replay_all(world).await;
    let paused = |replay: &Value| replay["status"] == "paused";
    until_replay(world, &replay, "the replay is halted", paused).await;
    execute(&store, "DROP TRIGGER no_progress");
}

/// Large events, of which many are in flight at an endpoint that does not answer, until there is no space for more.
pub(super) async fn fill_the_log(world: &World) {
    world.endpoint("/hang", Behaviour::Hang).await;
    let full = eventually("the log is full", DEADLINE, async || {
        some_are_refused(world).await.then_some(())
    });
    full.await.unwrap();
}

/// More of them, refused as long as nothing is done about it, until this alert fires.
pub(super) async fn fill_until_fires(world: &World, prometheus: &Prometheus, alert: &str) {
    let what = format!("{alert} fires");
    let fires = eventually(&what, DEADLINE, async || {
        some_are_refused(world).await;
        let firing = prometheus.firing().await.ok()?;
        firing.iter().any(|name| name == alert).then_some(())
    });
    fires.await.unwrap();
}

async fn some_are_refused(world: &World) -> bool {
    let path = format!("/api/v1/app/{}/msg", world.app);
    let event = json!({"eventType": "scenario.event", "payload": {"text": "x".repeat(256 << 10)}});
    let some = [(); 8].map(|()| world.api.try_post(&path, &event));
    let answers = futures::future::join_all(some).await;
    let mut answers = answers.into_iter();
    answers.any(|answer| answer.unwrap().status == 507)
}
