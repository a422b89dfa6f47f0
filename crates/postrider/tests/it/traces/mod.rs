//! Traces, as a collector sees them: their trees, what endpoints are told, and that nobody waits for the collector.

mod away;
mod cloudevents;
mod cluster;
mod collector;

use postrider_testkit::{Behaviour, Recording, eventually};
use serde_json::json;

use self::collector::{Collector, Seen, forest};
use crate::world::{DEADLINE, World};

/// Of a trace that somebody else began.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A world whose spans go to `collector`, of which this share is sampled.
async fn world(collector: &Collector, sampling: &str, more: &[(&str, &str)]) -> World {
    let endpoint = collector.endpoint();
    let mut settings = vec![
        ("TRACES__ENDPOINT", endpoint.as_str()),
        ("TRACES__SAMPLING", sampling),
    ];
    settings.extend_from_slice(more);
    World::recording(Recording::Requests, &settings).await
}

/// Publishes one event with these headers.
async fn publish(world: &World, headers: &[(&str, &str)]) {
    publish_at(
        &world.server().url,
        &world.server().token,
        &world.app,
        headers,
    )
    .await;
}

async fn publish_at(url: &str, token: &str, app: &str, headers: &[(&str, &str)]) {
    assert_eq!(sent(url, token, app, headers).await, 202);
}

/// The status that an event with these headers is answered with.
async fn sent(url: &str, token: &str, app: &str, headers: &[(&str, &str)]) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client
        .post(format!("{url}/api/v1/app/{app}/msg"))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(json!({ "eventType": "order.paid", "payload": { "card": "4242" } }).to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status().as_u16()
}

/// What the endpoint at `path` was told, request by request.
fn told(world: &World, path: &str, header: &str) -> Vec<String> {
    let requests = world.receiver.requests(path);
    requests
        .iter()
        .map(|one| one.text(header).to_owned())
        .collect()
}

fn named<'a>(spans: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    spans.iter().filter(|span| span.is(name)).collect()
}

const ONE_EVENT: &str = "\
POST /api/v1/app/{app_id}/msg status_code=202
  send events
    process events deliveries=2
      process deliveries.normal result=delivered
        POST status_code=200 to=/good
      process deliveries.normal result=delivered link=retry
        POST status_code=200 to=/flaky
      process deliveries.normal result=retry
        POST status_code=500 type=500 to=/flaky
";

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_one_tree_from_the_request_to_every_attempt_and_tells_no_secrets() {
    const SECRET: &str = "hunter2";
    let collector = Collector::start();
    let header = format!("x-key={SECRET}");
    let more = [
        ("DELIVERY__SCHEDULE", "0s,1s"),
        ("TRACES__HEADERS", &header),
    ];
    let world = world(&collector, "1", &more).await;
    let good = format!("/good?key={SECRET}");
    world.endpoint(&good, Behaviour::Ok).await;
    world.endpoint("/flaky", Behaviour::FailFirst(1, 500)).await;
    publish(&world, &[]).await;
    let spans = collector.wait_for(9, |_| true).await;
    let picture = forest(&spans);
    println!("{picture}");
    assert_eq!(picture, ONE_EVENT);
    assert!(spans.iter().all(|span| span.trace == spans[0].trace));
    assert!(spans.iter().all(|span| span.started <= span.ended));

    // What an endpoint is told is the attempt.
    let attempts = named(&spans, "POST");
    let to = |path: &str| {
        let to = attempts
            .iter()
            .filter(|span| span.get("url.full").ends_with(path));
        to.map(|span| span.traceparent()).collect::<Vec<_>>()
    };
    assert_eq!(told(&world, "/flaky", "traceparent"), to("/flaky"));
    assert_eq!(told(&world, &good, "traceparent"), to("/good"));

    // The retry names what it repeats.
    let failed = attempts.iter().find(|span| span.failed).unwrap();
    let links: Vec<_> = spans.iter().flat_map(|span| span.links.clone()).collect();
    let link = (failed.trace.clone(), failed.id.clone(), "retry".to_owned());
    assert_eq!(links, [link]);

    let all = collector.bytes();
    let token = world.server().token.clone();
    for secret in [SECRET, &token, "4242"] {
        let found = all
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{secret} is in a span");
    }
    assert!(
        collector
            .header("x-key")
            .iter()
            .all(|value| value == SECRET)
    );
    assert_eq!(spans[0].resource["service.name"], "postrider");
    assert_conventions(&spans);
}

/// OpenTelemetry's names, by kind of span.
fn assert_conventions(spans: &[Seen]) {
    use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
    for span in spans {
        let needed: &[&str] = match span.kind {
            SpanKind::Server => &[
                "http.request.method",
                "http.route",
                "url.path",
                "url.scheme",
            ],
            SpanKind::Client => &[
                "http.request.method",
                "server.address",
                "server.port",
                "url.full",
            ],
            SpanKind::Producer | SpanKind::Consumer => &[
                "messaging.system",
                "messaging.operation.name",
                "messaging.operation.type",
                "messaging.destination.name",
                "messaging.message.id",
            ],
            other => panic!("{other:?}"),
        };
        for name in needed {
            assert!(!span.get(name).is_empty(), "{name} of {span:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_trace_goes_on_although_none_would_be_begun_here() {
    let collector = Collector::start();
    let world = world(&collector, "0", &[]).await;
    world.endpoint("/good", Behaviour::Ok).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    publish(
        &world,
        &[("traceparent", &parent), ("tracestate", "vendor=1")],
    )
    .await;
    let spans = collector.wait_for(5, |_| true).await;
    assert!(
        spans
            .iter()
            .all(|span| span.trace == TRACE && span.state == "vendor=1")
    );
    let root = &named(&spans, "POST /api/v1/app/{app_id}/msg")[0];
    assert_eq!(root.parent, PARENT);
    let attempt = named(&spans, "POST")[0].traceparent();
    assert_eq!(told(&world, "/good", "traceparent"), [attempt]);
    assert_eq!(told(&world, "/good", "tracestate"), ["vendor=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_leaves_no_span_and_its_context_is_passed_on_as_it_came() {
    let collector = Collector::start();
    let world = world(&collector, "0", &[]).await;
    world.endpoint("/good", Behaviour::Ok).await;
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    publish(
        &world,
        &[("traceparent", &unsampled), ("tracestate", "vendor=1")],
    )
    .await;
    world.wait_for("/good", 1).await;
    publish(&world, &[]).await;
    world.wait_for("/good", 2).await;
    assert_eq!(
        told(&world, "/good", "traceparent"),
        [unsampled.as_str(), ""]
    );
    assert_eq!(told(&world, "/good", "tracestate"), ["vendor=1", ""]);
    // What comes behind them comes alone.
    let sampled = format!("00-{}-{PARENT}-01", "1".repeat(32));
    publish(&world, &[("traceparent", &sampled)]).await;
    let spans = collector.wait_for(5, |_| true).await;
    assert!(spans.iter().all(|span| span.trace == "1".repeat(32)));
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_opentelemetry_change_nothing() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let settings = [
        ("TRACES__ENDPOINT", endpoint.as_str()),
        ("TRACES__SAMPLING", "1"),
    ];
    let variable = ("OTEL_TRACES_SAMPLER", "always_off");
    let world = World::in_environment(variable, Recording::Requests, &settings).await;
    publish(&world, &[]).await;
    collector.wait_for(3, |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_asks_for_spans_makes_none() {
    for sampling in ["0", "1"] {
        let collector = Collector::start();
        let world = world(&collector, sampling, &[]).await;
        let asks = |trace: &str| format!("00-{}-{PARENT}-01", trace.repeat(32));
        let url = &world.server().url;
        let stranger = [("traceparent", asks("7"))];
        let stranger = stranger
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let status = sent(url, "pr_nobody", &world.app, &stranger).await;
        assert_eq!(status, 401);
        // What comes behind it comes alone.
        publish(&world, &[("traceparent", &asks("1"))]).await;
        let spans = collector.wait_for(3, |_| true).await;
        assert!(spans.iter().all(|span| span.trace == "1".repeat(32)));
    }
}

const REPLAYED: &str = "\
send deliveries.bulk link=replay
  process deliveries.bulk result=delivered
    POST status_code=200 to=/mended
";

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_and_a_resend_are_traces_of_their_own_linked_to_what_they_repeat() {
    let collector = Collector::start();
    let world = world(&collector, "1", &[("DELIVERY__SCHEDULE", "0s")]).await;
    let endpoint = world
        .endpoint("/mended", Behaviour::FailFirst(1, 500))
        .await;
    publish(&world, &[]).await;
    world.wait_for_dead_letters(1).await;
    let first = collector.wait_for(5, |_| true).await;
    let attempt = named(&first, "POST")[0];
    assert!(named(&first, "process deliveries.normal")[0].failed);

    let body = json!({ "filter": {} });
    let path = format!("/api/v1/app/{}/replay", world.app);
    world.api.post(&path, &body).await.unwrap();
    let replayed = collector
        .wait_for(3, |span| span.trace != first[0].trace)
        .await;
    assert_eq!(forest(&replayed), REPLAYED);
    let link = (
        attempt.trace.clone(),
        attempt.id.clone(),
        "replay".to_owned(),
    );
    assert_eq!(named(&replayed, "send deliveries.bulk")[0].links, [link]);
    assert_eq!(
        told(&world, "/mended", "traceparent")[1],
        named(&replayed, "POST")[0].traceparent()
    );

    let event = named(&first, "send events")[0];
    let path = format!(
        "/api/v1/app/{}/msg/{}/endpoint/{endpoint}/resend",
        world.app,
        event.get("postrider.event.id")
    );
    world.api.post(&path, &json!({})).await.unwrap();
    let others = [first[0].trace.clone(), replayed[0].trace.clone()];
    let resent = collector
        .wait_for(3, |span| !others.contains(&span.trace))
        .await;
    assert_eq!(forest(&resent), REPLAYED);
    let links = &named(&resent, "send deliveries.bulk")[0].links;
    assert_eq!(links[0].0, first[0].trace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_parked_says_so_and_stays_in_its_trace() {
    let collector = Collector::start();
    let more = [
        ("DELIVERY__SCHEDULE", "0s,1s,1s,1s"),
        ("DELIVERY__BREAKER_FAILURES", "1"),
        // Longer than anything here takes before the breaker is asked.
        ("DELIVERY__BREAKER_WAIT", "10s"),
    ];
    let world = world(&collector, "1", &more).await;
    world.endpoint("/flaky", Behaviour::FailFirst(1, 500)).await;
    publish(&world, &[]).await;
    world.wait_for("/flaky", 1).await;
    // Behind the breaker, which the first has opened.
    let opened = eventually("the breaker is open", DEADLINE, async || {
        let open = crate::counted::counted(&world, "postrider_delivery_open_breakers").await;
        (open > 0).then_some(())
    });
    opened.await.unwrap();
    publish(&world, &[]).await;
    world.wait_for("/flaky", 3).await;
    let delivered = |span: &Seen| span.get("postrider.delivery.result") == "delivered";
    let delivered = collector.wait_for(2, delivered).await;
    let parked: Vec<Seen> = collector
        .spans()
        .into_iter()
        .filter(|span| span.get("postrider.delivery.result") == "parked")
        .collect();
    assert!(!parked.is_empty());
    for span in &parked {
        assert_eq!(span.get("postrider.delivery.reason"), "breaker_open");
        let later = delivered
            .iter()
            .find(|other| other.trace == span.trace)
            .unwrap();
        assert_eq!(span.parent, later.parent);
    }
}
