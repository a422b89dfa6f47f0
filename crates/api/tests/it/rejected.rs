//! Records that were set aside, and judging them again.

use postrider_log::{Durability, Log, Purpose};
use postrider_model::topics::{EVENTS_REJECTED, EVENTS_WAITING};
use postrider_model::{EventId, NewRecord, RECORD_ID};
use postrider_store::TokenScope;

use crate::house::{House, add_token};

/// Puts records aside as fan-out does, the values from 0 on.
async fn reject(house: &House, count: usize) {
    let record = |n: usize| {
        let mut record = NewRecord::new(EVENTS_REJECTED, "shop", n.to_string());
        for (name, value) in [
            ("application", "shop"),
            ("event-type", "a.b"),
            ("postrider-reason", "there is no application shop"),
            ("postrider-origin", "events/0@7"),
        ] {
            record.headers.push(name, value);
        }
        let id = EventId::derive(&[&n.to_be_bytes()]);
        record.headers.push(RECORD_ID, id.to_string());
        record
    };
    let records = (0..count).map(record).collect();
    append(house, records).await;
}

async fn append(house: &House, records: Vec<NewRecord>) {
    let append = house
        .log
        .append(records, Durability::Synced, Purpose::Pipeline);
    append.await.unwrap();
}

#[tokio::test]
async fn they_are_listed_with_their_reasons_page_by_page() {
    let house = House::new().await;
    reject(&house, 5).await;
    let (mut path, mut sizes, mut ids) = ("/rejected?limit=2".to_owned(), vec![], vec![]);
    loop {
        let page = house.get(&path).await.with(200);
        let data = page["data"].as_array().unwrap();
        sizes.push(data.len());
        ids.extend(data.iter().map(|one| one["id"].to_string()));
        for one in data {
            assert_eq!(one["reason"], "there is no application shop");
            assert_eq!(one["origin"], "events/0@7");
            assert_eq!(one["headers"]["event-type"], "a.b");
            assert_eq!(
                (&one["key"], &one["canRetry"]),
                (&"shop".into(), &true.into())
            );
        }
        if page["done"] == true {
            break;
        }
        let iterator = page["iterator"].as_str().unwrap();
        path = format!("/rejected?limit=2&iterator={iterator}");
    }
    ids.dedup();
    assert_eq!((sizes, ids.len()), (vec![2, 2, 1], 5));
}

#[tokio::test]
async fn one_is_read_with_its_value_and_judged_again_as_it_was_received() {
    let house = House::new().await;
    reject(&house, 2).await;
    let list = house.get("/rejected").await.with(200);
    let id = list["data"][1]["id"].as_str().unwrap();
    let one = house.get(format!("/rejected/{id}")).await.with(200);
    assert_eq!(one["value"], "1");
    let done = house
        .post(format!("/rejected/{id}/retry"), "")
        .await
        .with(202);
    assert_eq!(done["retried"], 1);
    let waiting = house.log.records(EVENTS_WAITING);
    assert_eq!((waiting.len(), &waiting[0].value[..]), (1, &b"1"[..]));
    assert!(house.log.is_synced(), "it was answered before that");
    let names: Vec<_> = waiting[0].headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["application", "event-type", RECORD_ID]);
}

#[tokio::test]
async fn all_are_judged_again_page_by_page_but_those_that_cannot_be() {
    let house = House::new().await;
    reject(&house, 3).await;
    append(
        &house,
        vec![NewRecord::new(EVENTS_REJECTED, "x", "no event")],
    )
    .await;
    let first = house.post("/rejected/retry?limit=3", "").await.with(202);
    assert!(house.log.is_synced(), "it was answered before that");
    assert_eq!(
        (&first["retried"], &first["done"]),
        (&3.into(), &false.into())
    );
    let iterator = first["iterator"].as_str().unwrap();
    // What was judged again and is still wrong comes behind all that there were.
    reject(&house, 2).await;
    let rest = house.post(format!("/rejected/retry?iterator={iterator}"), "");
    let rest = rest.await.with(202);
    assert_eq!((&rest["retried"], &rest["skipped"]), (&0.into(), &1.into()));
    assert_eq!(rest["done"], true);
    assert_eq!(house.log.records(EVENTS_WAITING).len(), 3);
    let garbled = house.post(format!("/rejected/retry?iterator={iterator},x"), "");
    garbled.await.refuses("iterator", "expected an iterator");
    let list = house.get("/rejected").await.with(200);
    let last = list["data"][3]["id"].as_str().unwrap();
    let refused = house.post(format!("/rejected/{last}/retry"), "").await;
    assert_eq!(refused.status.as_u16(), 409);
}

#[tokio::test]
async fn a_record_that_is_not_there_is_not_found_and_only_operators_may_ask() {
    let house = House::new().await;
    reject(&house, 1).await;
    let nowhere = postrider_model::DeadLetterId::new().to_string();
    for id in ["x", nowhere.as_str()] {
        assert_eq!(
            house.get(format!("/rejected/{id}")).await.status.as_u16(),
            404
        );
    }
    house
        .get("/rejected?iterator=x")
        .await
        .refuses("iterator", "expected an iterator");
    let scope = TokenScope::Application(house.app.id);
    let token = add_token(&house.store, scope).await;
    let headers = [("authorization", &*format!("Bearer {token}"))];
    for (method, path) in [("GET", "/rejected"), ("POST", "/rejected/retry")] {
        let answer = house.send(method, path, &headers, "").await;
        assert_eq!(answer.status.as_u16(), 403, "{path}");
    }
}
