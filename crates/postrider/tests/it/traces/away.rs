//! A collector that is away, hangs or refuses costs spans and nothing else.

use std::time::{Duration, Instant};

use postrider_testkit::{Behaviour, Refusing, eventually};

use super::collector::Collector;
use crate::counted::counted;
use crate::world::{DEADLINE, World};

const EVENTS: u64 = 200;

/// Everything is delivered and the process stops as usual, though nobody takes a span. Returns its log, which says who
/// that is.
async fn deliveries_go_on(endpoint: &str) -> String {
    let settings = [
        ("TRACES__ENDPOINT", endpoint),
        ("TRACES__SAMPLING", "1"),
        ("TRACES__QUEUE", "64"),
        // Were it waited for, one would see it.
        ("TRACES__TIMEOUT", "1m"),
        ("DELIVERY__DRAIN", "1m"),
    ];
    let mut world = World::with(&settings).await;
    world.endpoint("/good", Behaviour::Ok).await;
    world.publish(EVENTS).await;
    world.wait_for("/good", EVENTS).await;
    let dropped = eventually("spans are dropped", DEADLINE, async || {
        let dropped = counted(&world, "postrider_trace_spans_dropped_total").await;
        (dropped > 0).then_some(())
    });
    dropped.await.unwrap();
    assert_eq!(
        counted(&world, "postrider_trace_spans_exported_total").await,
        0
    );
    let began = Instant::now();
    world.terminate().await;
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(world.receiver.count("/good"), EVENTS);
    world.start().await;
    let log = world.server().log();
    let named = format!("collector=\"{}\"", endpoint.trim_end_matches('/'));
    assert!(log.contains(&named), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_delays_neither_deliveries_nor_the_stop() {
    let collector = Collector::that(Behaviour::Hang);
    let log = deliveries_go_on(&collector.endpoint()).await;
    assert!(log.contains("spans were given up"), "{log}");
    assert!(collector.requests() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_delays_neither_deliveries_nor_the_stop() {
    let nobody = Refusing::bind().unwrap();
    deliveries_go_on(&nobody.url().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_will_never_take_is_counted_as_refused_and_the_next_is_sent() {
    let collector = Collector::that(Behaviour::FailFirst(1, 400));
    let endpoint = collector.endpoint();
    let settings = [
        ("TRACES__ENDPOINT", endpoint.as_str()),
        ("TRACES__SAMPLING", "1"),
    ];
    let world = World::with(&settings).await;
    world.publish(1).await;
    let refused = "postrider_trace_spans_dropped_total{reason=\"refused\"";
    let counted_refused = eventually("spans are refused", DEADLINE, async || {
        (counted(&world, refused).await > 0).then_some(())
    });
    counted_refused.await.unwrap();
    world.publish(1).await;
    let exported = eventually("spans are taken", DEADLINE, async || {
        (counted(&world, "postrider_trace_spans_exported_total").await > 0).then_some(())
    });
    exported.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_the_process_stops_still_comes() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let settings = [
        ("TRACES__ENDPOINT", endpoint.as_str()),
        ("TRACES__SAMPLING", "1"),
    ];
    let mut world = World::with(&settings).await;
    world.endpoint("/good", Behaviour::Ok).await;
    world.publish(1).await;
    world.wait_for("/good", 1).await;
    world.terminate().await;
    assert_eq!(collector.spans().len(), 5);
}
