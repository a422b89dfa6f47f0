//! What is declared is what is rendered, and what breaks a rule is refused.

use std::time::Duration;

use crate::{
    Counter, Error, Gauge, GaugeFamily, Histogram, Kind, LATENCY_BUCKETS, Label, Labels, Registry,
    Worst,
};

crate::label! {
    /// Why it was refused.
    enum Reason("reason") { TooLarge = "too_large", Unauthorized = "unauthorized" }
}

crate::label! {
    /// The class of a delivery.
    enum Class("class") { High = "high", Normal = "normal", Bulk = "bulk" }
}

crate::metrics! {
    /// Everything that can be declared.
    struct Everything {
        accepted: Counter("postrider_test_accepted_total", "events", "Events accepted."),
        rejected: CounterVec<Reason>("postrider_test_rejected_total", "requests", "Requests refused."),
        waiting: Gauge("postrider_test_waiting", "deliveries", "Deliveries not yet started."),
        age: FloatGauge("postrider_test_age_seconds", "seconds", "Age of the snapshot."),
        accept: Histogram("postrider_test_accept_seconds", "seconds", "From request to 202.", LATENCY_BUCKETS),
        attempts: HistogramVec<(Class, Reason)>(
            "postrider_test_attempt_seconds", "seconds", "Duration of an attempt.", &[0.1, 1.0],
        ),
        lag: GaugeFamily<2>("postrider_test_lag", "records", "Records not yet read.", ["topic", "group"]),
    }
}

fn counter(registry: &Registry, name: &'static str) -> Result<Counter, Error> {
    Counter::register(registry, name, "events", "Events.")
}

#[test]
fn what_is_counted_is_rendered_in_the_text_format() {
    let registry = Registry::new();
    let metrics = Everything::register(&registry).unwrap();
    metrics.accepted.inc();
    metrics.accepted.inc_by(2);
    metrics.rejected.of(Reason::TooLarge).inc();
    metrics.waiting.add(5);
    metrics.waiting.dec();
    metrics.age.set_duration(Duration::from_millis(1500));
    metrics.accept.observe(0.002);
    let labels = (Class::Bulk, Reason::Unauthorized);
    let attempt = Duration::from_millis(500);
    metrics.attempts.of(labels).observe_duration(attempt);
    metrics.lag.resolve(["events", "fanout"]).unwrap().set(7);

    let text = registry.render();
    for line in [
        "# HELP postrider_test_accepted_total Events accepted.",
        "# TYPE postrider_test_accepted_total counter",
        "postrider_test_accepted_total 3",
        "postrider_test_rejected_total{reason=\"too_large\"} 1",
        "postrider_test_waiting 4",
        "postrider_test_age_seconds 1.5",
        "postrider_test_accept_seconds_bucket{le=\"0.0025\"} 1",
        "postrider_test_accept_seconds_count 1",
        "postrider_test_attempt_seconds_bucket{class=\"bulk\",reason=\"unauthorized\",le=\"1\"} 1",
        "postrider_test_lag{group=\"fanout\",topic=\"events\"} 7",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "no line `{line}` in:\n{text}"
        );
    }
}

#[test]
fn every_value_of_an_enumerated_label_is_there_at_zero_from_the_start() {
    let registry = Registry::new();
    Everything::register(&registry).unwrap();
    let text = registry.render();
    assert!(text.contains("postrider_test_rejected_total{reason=\"unauthorized\"} 0"));
    let combinations = text
        .lines()
        .filter(|line| line.starts_with("postrider_test_attempt_seconds_count"))
        .count();
    assert_eq!(combinations, 6);
}

#[test]
fn combinations_of_labels_and_their_places_agree() {
    for (class_index, class) in [Class::High, Class::Normal, Class::Bulk]
        .into_iter()
        .enumerate()
    {
        for reason in [Reason::TooLarge, Reason::Unauthorized] {
            let all = (class, reason, class);
            let text = Class::VALUES[class_index];
            let values = <(Class, Reason, Class)>::values(all.index());
            assert_eq!(values, [text, Reason::VALUES[Label::index(reason)], text]);
        }
    }
    assert_eq!(<(Class, Reason, Class)>::COUNT, 18);
}

#[test]
fn a_family_gives_the_same_series_for_the_same_labels_and_never_confuses_two() {
    let registry = Registry::new();
    let labels = ["topic", "group"];
    let lag = GaugeFamily::<2>::register(&registry, "postrider_lag", "records", "Lag.", labels);
    let lag = lag.unwrap();
    lag.resolve(["ab", "c"]).unwrap().set(1);
    lag.resolve(["a", "bc"]).unwrap().set(2);
    lag.clone().resolve(["ab", "c"]).unwrap().inc();
    assert_eq!(lag.resolve(["ab", "c"]).unwrap().get(), 2);
    assert_eq!(lag.resolve(["a", "bc"]).unwrap().get(), 2);
}

#[test]
fn of_the_worst_only_those_of_the_moment_have_a_series() {
    let registry = Registry::new();
    let worst = Worst::register(
        &registry,
        "postrider_backlog",
        "deliveries",
        "Backlog.",
        "endpoint",
    );
    let worst = worst.unwrap();
    worst.show(&[("ep_a".to_owned(), 3.0), ("ep_b".to_owned(), 2.0)]);
    worst.show(&[("ep_b".to_owned(), 5.0), ("ep_c".to_owned(), 1.0)]);
    let text = registry.render();
    let series: Vec<_> = text
        .lines()
        .filter(|l| l.starts_with("postrider_"))
        .collect();
    assert_eq!(
        series,
        [
            "postrider_backlog{endpoint=\"ep_b\"} 5",
            "postrider_backlog{endpoint=\"ep_c\"} 1"
        ]
    );
    worst.show(&[]);
    assert_eq!(registry.render(), "");
    assert_eq!(registry.declarations().len(), 1);
}

#[test]
fn declarations_tell_what_was_declared_in_the_order_of_the_names() {
    let registry = Registry::new();
    Everything::register(&registry).unwrap();
    let declared = registry.declarations();
    assert_eq!(declared.len(), 7);
    assert!(declared.is_sorted_by_key(|declaration| declaration.name));
    let lag = declared
        .iter()
        .find(|d| d.name == "postrider_test_lag")
        .unwrap();
    assert_eq!(lag.kind, Kind::Gauge);
    assert_eq!((lag.unit, lag.help), ("records", "Records not yet read."));
    assert_eq!(lag.labels, ["topic", "group"]);
}

#[test]
fn a_name_declared_twice_is_refused_also_with_another_kind() {
    let registry = Registry::new();
    counter(&registry, "postrider_events_total").unwrap();
    let again = counter(&registry, "postrider_events_total");
    assert!(matches!(
        again,
        Err(Error::Duplicate {
            name: "postrider_events_total"
        })
    ));
    Gauge::register(&registry, "postrider_waiting", "events", "Waiting.").unwrap();
    let histogram = Histogram::register(&registry, "postrider_waiting", "events", "W.", &[1.0]);
    assert!(matches!(histogram, Err(Error::Duplicate { .. })));
}

#[test]
fn two_registries_know_nothing_of_each_other() {
    let (one, other) = (Registry::new(), Registry::new());
    counter(&one, "postrider_events_total").unwrap().inc();
    counter(&other, "postrider_events_total").unwrap();
    assert!(one.render().contains("postrider_events_total 1"));
    assert!(other.render().contains("postrider_events_total 0"));
}

#[test]
fn names_that_hide_what_they_are_are_refused() {
    let registry = Registry::new();
    for name in [
        "events_total",
        "postrider_",
        "postrider_Events_total",
        "postrider_events-total",
        "postrider_events",
        "postrider_wait_seconds_total",
    ] {
        let refused = counter(&registry, name);
        assert!(
            matches!(refused, Err(Error::Bad { .. })),
            "{name} was taken"
        );
    }
    for (name, unit) in [
        ("postrider_waiting_total", "events"),
        ("postrider_waiting_count", "events"),
        ("postrider_age", "seconds"),
        ("postrider_held_bytes", "events"),
        ("postrider_waiting", ""),
    ] {
        let refused = Gauge::register(&registry, name, unit, "Help.");
        assert!(
            matches!(refused, Err(Error::Bad { .. })),
            "{name} was taken"
        );
    }
    let no_help = Gauge::register(&registry, "postrider_waiting", "events", "");
    assert!(matches!(no_help, Err(Error::Bad { .. })));
    assert!(registry.declarations().is_empty());
}

#[test]
fn labels_that_prometheus_would_not_take_are_refused() {
    let registry = Registry::new();
    for labels in [
        ["topic", "topic"],
        ["topic", "le"],
        ["topic", ""],
        ["topic", "a-b"],
    ] {
        let name = "postrider_lag";
        let refused = GaugeFamily::<2>::register(&registry, name, "records", "Lag.", labels);
        assert!(
            matches!(refused, Err(Error::Bad { .. })),
            "{labels:?} was taken"
        );
    }
}

#[test]
fn bounds_that_do_not_grow_are_refused() {
    let registry = Registry::new();
    let bounds = &[2.0, 1.0];
    let refused = Histogram::register(&registry, "postrider_size", "records", "Size.", bounds);
    assert!(matches!(refused, Err(Error::Refused { .. })));
}

#[test]
fn a_family_that_is_forgotten_is_rendered_no_more_until_it_is_asked_for_again() {
    let registry = Registry::new();
    let metrics = Everything::register(&registry).unwrap();
    let before = metrics.lag.resolve(["events", "fanout"]).unwrap();
    before.set(7);
    metrics.lag.forget();
    before.set(8);
    assert!(!registry.render().contains("postrider_test_lag"));
    metrics.lag.resolve(["events", "fanout"]).unwrap().set(9);
    let line = "postrider_test_lag{group=\"fanout\",topic=\"events\"} 9";
    assert!(registry.render().contains(line));
}
