//! Reading events, young ones too.

use std::time::Duration;

use postrider_api::Options;
use postrider_log::{
    BatchLimit, Committed, Completion, Durability, Epochs, Log, Polled, Progress, Purpose,
    Subscription,
};
use postrider_model::{Event, TopicPartition, topics};
use postrider_store::HistoryBatch;

use crate::house::{House, at};

#[tokio::test]
async fn an_event_is_read_by_its_id_and_by_its_event_id() {
    let house = House::new().await;
    let event = house.archived("e1", at(1), &[]).await;
    let by_id = house.get(format!("/app/acme/msg/{}", event.id)).await;
    assert!(
        by_id.text().contains(r#""payload":{ "uid" : "e1" }"#),
        "{}",
        by_id.text()
    );
    let by_id = by_id.with(200);
    assert_eq!(
        (&by_id["eventId"], &by_id["channels"][0]),
        (&"e1".into(), &"eu".into())
    );
    assert_eq!(house.get("/app/acme/msg/e1/").await.with(200), by_id);
    let bare = house
        .get("/app/acme/msg/e1?with_content=false")
        .await
        .with(200);
    assert_eq!(bare["payload"], serde_json::json!({}));
    house
        .get("/app/acme/msg/e1?with_content=maybe")
        .await
        .refuses("with_content", "true or false");
}

#[tokio::test]
async fn what_never_was_is_404_at_once_when_nothing_is_behind() {
    let house = House::new().await;
    house.get("/app/acme/msg/nothing").await.with(404);
    house.get("/app/acme/msg/not%20an%20id").await.with(404);
}

#[tokio::test]
async fn listings_filter_by_type_channel_and_time() {
    let house = House::new().await;
    for n in 1..=3 {
        house.archived(&format!("e{n}"), at(n), &[]).await;
    }
    let uids = async |query: &str| {
        let listed = house.get(format!("/app/acme/msg?{query}")).await.with(200);
        let data = listed["data"].as_array().unwrap().clone();
        data.iter()
            .map(|one| one["eventId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(uids("").await, ["e3", "e2", "e1"]);
    assert_eq!(uids("event_types=a,order.created").await.len(), 3);
    assert_eq!(uids("event_types=a&event_types=b").await.len(), 0);
    assert_eq!(uids("channel=us").await.len(), 0);
    assert_eq!(
        uids(&format!("after={}&before={}", at(1), at(3))).await,
        ["e2"]
    );
    house
        .get("/app/acme/msg?before=now")
        .await
        .refuses("before", "RFC 3339");
    house
        .get("/app/acme/msg?tag=x")
        .await
        .refuses("tag", "no tags yet");
}

/// Accepts an event without archiving it.
async fn accept(house: &House, event: &Event) {
    let record = vec![event.to_record()];
    house
        .log
        .append(record, Durability::Synced, Purpose::Intake)
        .await
        .unwrap();
}

/// Does the recorder's work: archives what lies in `events`, then commits.
async fn archive(house: &House) {
    let subscription = Subscription::to(topics::RECORDER, topics::EVENTS);
    let (mut reader, committer) = house.log.subscribe(subscription).await.unwrap();
    let limit = BatchLimit {
        records: 100,
        bytes: 1 << 20,
    };
    let mut epochs = Epochs::default();
    loop {
        let polled = reader.next(limit).await.unwrap();
        epochs.hear(&polled);
        let Polled::Records(records) = polled else {
            continue;
        };
        let events = records
            .iter()
            .map(|record| Event::from_record(record).unwrap());
        house
            .record(HistoryBatch {
                events: events.collect(),
                ..HistoryBatch::default()
            })
            .await;
        let committed = Committed {
            next: records.last().unwrap().position + 1,
            metadata: String::new(),
        };
        let at = TopicPartition {
            topic: topics::EVENTS,
            partition: 0,
        };
        let completion = Completion {
            finished: vec![Progress {
                at,
                epoch: epochs.of(at),
                committed,
            }],
            outputs: vec![],
            durability: Durability::Synced,
            purpose: Purpose::Pipeline,
        };
        return committer.complete(completion).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_of_a_young_event_waits_for_the_recorder() {
    let house = House::new().await;
    let event = house.event("e1", at(1));
    accept(&house, &event).await;
    let path = format!("/app/acme/msg/{}", event.id);
    let recorder = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        archive(&house).await;
    };
    let (answer, ()) = tokio::join!(house.get(&path), recorder);
    assert_eq!(answer.with(200)["id"], event.id.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_does_not_come_is_503_and_never_404() {
    let house = House::new().await;
    accept(&house, &house.event("e1", at(1))).await;
    for path in [
        "/app/acme/msg/e1",
        "/app/acme/attempt/msg/e1",
        "/app/acme/msg/e1/endpoint",
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.with(503)["code"], "unavailable");
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_many_reads_wait_at_once() {
    let house = House::with(Options {
        waiting: 1,
        ..Options::default()
    })
    .await;
    accept(&house, &house.event("e1", at(1))).await;
    let began = tokio::time::Instant::now();
    let one = house.get("/app/acme/msg/e1");
    let other = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        house.get("/app/acme/msg/e1").await.with(503);
        began.elapsed()
    };
    let (first, sent_away_after) = tokio::join!(one, other);
    assert_eq!(sent_away_after.as_secs(), 1);
    first.with(503);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_while_its_read_waits_is_no_longer_counted() {
    let house = House::new().await;
    accept(&house, &house.event("e1", at(1))).await;
    let waiting = |so_many: u32| {
        let line = format!("postrider_api_waiting_reads {so_many}");
        house.metrics.render().lines().any(|given| given == line)
    };
    {
        let mut read = std::pin::pin!(house.get("/app/acme/msg/e1"));
        let patience = Duration::from_secs(1);
        assert!(tokio::time::timeout(patience, read.as_mut()).await.is_err());
        assert!(waiting(1));
    }
    assert!(waiting(0));
}
