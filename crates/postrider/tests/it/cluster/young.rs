//! Reading an event that was accepted a moment ago, while the process that archives it does nothing.

use std::time::{Duration, Instant};

use postrider_testkit::{Answer, Api, eventually, pause, proceed};
use serde_json::json;

use super::{Basis, Cluster, PATIENCE};

/// For so long a read waits for the recorder (`postrider_api::Options::wait`).
const WAIT: Duration = Duration::from_secs(5);

async fn publish(api: &Api, app: &str) -> String {
    let event = json!({});
    let published = api.publish(app, "scenario.event", &event);
    published.await.unwrap()
}

/// Reads an event that was accepted: nobody is told that it is not there.
async fn read(api: &Api, app: &str, event: &str) -> Answer {
    let path = format!("/api/v1/app/{app}/msg/{event}");
    let answer = api.try_get(&path).await.unwrap();
    let said = answer.status == 200 || answer.status == 503;
    assert!(said, "{}: {}", answer.status, answer.body);
    answer
}

/// Reads it until it can be read.
async fn comes(api: &Api, app: &str, event: &str) {
    let readable = eventually("it can be read", PATIENCE, async || {
        let answer = read(api, app, event).await;
        (answer.status == 200).then_some(answer.body)
    });
    assert_eq!(readable.await.unwrap()["id"], event);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_read_once_the_recorder_has_passed_and_is_never_said_not_to_be_there() {
    let mut cluster = Cluster::on(&Basis::shared()).await;
    cluster.lay_out().await;
    cluster.play("front", "ingest,api").await;
    cluster.play("recorder", "recorder").await;
    cluster.ready().await;
    let api = cluster.api("front");
    let app = api.create_app("young").await.unwrap();
    for _ in 0..20 {
        let event = publish(&api, &app).await;
        comes(&api, &app, &event).await;
    }
    let never = format!("/api/v1/app/{app}/msg/nobody-wrote-it");
    let unknown = api.try_get(&never).await.unwrap();
    assert_eq!(unknown.status, 404, "{}", unknown.body);

    let recorder = cluster.server("recorder").pid();
    pause(recorder).unwrap();
    let event = publish(&api, &app).await;
    let asked = Instant::now();
    let answer = read(&api, &app, &event).await;
    let waited = asked.elapsed();
    proceed(recorder).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.retry_after.is_some(), "{}", answer.body);
    assert!(waited >= WAIT, "it waited for {waited:?} only");
    comes(&api, &app, &event).await;
}
