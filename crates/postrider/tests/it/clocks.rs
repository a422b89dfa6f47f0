//! A broker whose clock is another than ours.

use std::time::Duration;

use postrider_testkit::{Behaviour, Broker, Receiver, Recording, eventually};
use serde_json::json;

use crate::counted::sum;
use crate::engines::Engines;

/// Nothing here goes by a clock of ours alone: a broker that starts with another time elects, forgets and remembers by that.
/// Alone on its machine the whole test takes three minutes.
const DEADLINE: Duration = Duration::from_secs(360);

/// The wait before the second attempt: longer than the shortest tiers, so that it hops.
const WAIT: Duration = Duration::from_secs(8);
/// Retries are jittered by a tenth of their wait, to either side.
const SOONEST: Duration = Duration::from_secs(7);

fn wrong(engines: &Engines, words: &str) {
    let told = engines.command(&["doctor"]);
    assert_eq!(told.code, 1, "{}{}", told.out, told.err);
    assert!(told.out.contains(words), "{words:?} in:\n{}", told.out);
}

/// An event to an endpoint that refuses it the first time arrives when the schedule has it, in few hops, and what is told
/// of the brokers says by how much their clock is off.
async fn retries_come_when_they_are_due(engines: &Engines, uid: &str) {
    let (server, api) = match engines.path().join("data").exists() {
        true => engines.serve_again().await,
        false => engines.serve().await,
    };
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let url = receiver.on("/hook", Behaviour::FailFirst(1, 500));
    let app = api.create_app(uid).await.unwrap();
    api.create_endpoint(&app, &json!({ "url": url }))
        .await
        .unwrap();
    // A broker that has just started may be late with its acknowledgement, on a slow machine.
    let event = json!({ "eventType": "order.created", "eventId": uid, "payload": { "n": 1 } });
    let path = format!("/api/v1/app/{app}/msg");
    let accepted = eventually("it is accepted", DEADLINE, async || {
        api.post(&path, &event).await.ok()
    });
    accepted.await.unwrap();
    receiver.wait_for("/hook", 2, DEADLINE).await.unwrap();
    let came = receiver.arrivals_at("/hook");
    let waited = came[1].at - came[0].at;
    assert!(waited > SOONEST, "{uid}: after {waited:?}");

    // It went through the pump's tiers. How often depends on the machine as well: a pump that had no time for seconds finds
    // at the head of the first tier what is due by then, and that needs no further one; and one that lost its partitions in
    // the middle of it has not counted what it wrote. It counts once its position is committed, too, which may be after the
    // attempt.
    let counted = eventually("it went by a tier", DEADLINE, async || {
        let metrics = api.metrics().await.unwrap();
        let moved = sum(&metrics, "postrider_pump_moved_total{kind=\"retry\"");
        let lost = sum(&metrics, "postrider_kafka_lost_partitions_total");
        (moved + lost >= 1.0).then_some(metrics)
    });
    let metrics = counted
        .await
        .unwrap_or_else(|error| panic!("{uid}: {error}"));
    let hops = "postrider_pump_moved_total{kind=\"retry\",route=\"hop\"}";
    let hops = sum(&metrics, hops);
    assert!(hops <= 12.0, "{uid}: {hops} hops");
    let off = sum(&metrics, "postrider_kafka_clock_off_seconds");
    assert!((500.0..=601.0).contains(&off), "{uid}: {off} s");
    let status = server.terminate(DEADLINE).await.unwrap();
    assert!(status.success(), "ended with {status}");
}

// One broker for both: each start of one takes seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_brokers_clock_that_is_ten_minutes_off_moves_no_retry_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start_with_clock(directory.path(), -600).await;
    let mut broker = broker.unwrap();
    let engines = Engines::new()
        .await
        .set("LOG__KAFKA__BROKERS", broker.address())
        .set("LOG__KAFKA__PARTITIONS", "1")
        .set("DELIVERY__SCHEDULE", format!("0s,{}s", WAIT.as_secs()));
    retries_come_when_they_are_due(&engines, "behind").await;
    wrong(&engines, "s behind ours");

    broker.stop().await.unwrap();
    broker.set_clock(600);
    broker.restart().await.unwrap();
    retries_come_when_they_are_due(&engines, "before").await;
    wrong(&engines, "s before ours");
}
