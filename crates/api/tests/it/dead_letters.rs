//! Dead letters and replays.

use std::time::Duration;

use postrider_model::{DeadLetter, DeathReason, EndpointId, Outcome};
use postrider_store::{Applications, DeadLetters, ReplayStatus, Replays, Selection, TokenScope};
use serde_json::{Value, json};

use crate::house::{House, add_token, application, at, delivery};

/// `count` dead letters of one endpoint, which died a second apart.
async fn letters(house: &House, endpoint: EndpointId, count: i64) -> Vec<DeadLetter> {
    let mut all = vec![];
    for n in 0..count {
        let event = house.event(&format!("e{n}"), at(n));
        let died = at(100 + n);
        let letter = DeadLetter::of(delivery(&event, endpoint), DeathReason::Exhausted, died)
            .after(Outcome::Refused, Some(500), "");
        all.push(letter);
    }
    house.store.keep_dead_letters(&all).await.unwrap();
    all
}

fn ids(listed: &Value) -> Vec<String> {
    let data = listed["data"].as_array().unwrap();
    data.iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn dead_letters_are_listed_filtered_inspected_and_deleted() {
    let house = House::new().await;
    let endpoint = house.endpoint("one").await;
    let all = letters(&house, endpoint.id, 3).await;
    let newest_first: Vec<_> = all.iter().rev().map(|one| one.id.to_string()).collect();
    for path in [
        "/dead-letter",
        "/app/acme/dead-letter/",
        "/dead-letter?app_id=acme&endpoint_id=one",
    ] {
        assert_eq!(ids(&house.get(path).await.with(200)), newest_first);
    }
    let filtered = async |query: String| {
        ids(&house.get(format!("/dead-letter?{query}")).await.with(200)).len()
    };
    assert_eq!(filtered(format!("after={}", at(100))).await, 2);
    assert_eq!(filtered(format!("before={}", at(101))).await, 1);
    assert_eq!(filtered("event_type=other".into()).await, 0);
    assert_eq!(
        filtered(format!("endpoint_id={}", EndpointId::new())).await,
        0
    );
    house
        .get("/dead-letter?endpoint_id=one")
        .await
        .refuses("endpoint_id", "only within an application");
    let path = format!("/app/acme/dead-letter/{}", newest_first[0]);
    let one = house.get(&path).await;
    assert!(one.text().contains(r#""payload":{ "uid" : "e2" }"#));
    let one = one.with(200);
    assert_eq!(
        (&one["reason"], &one["responseStatusCode"]),
        (&"exhausted".into(), &500.into())
    );
    assert_eq!(
        (&one["endpointId"], &one["replayId"]),
        (&endpoint.id.to_string().into(), &Value::Null)
    );
    assert_eq!(one["payloadLeftOut"], false);
    house.delete(&path).await.with(204);
    house.get(&path).await.with(404);
}

#[tokio::test]
async fn a_dead_letter_that_was_too_large_for_the_log_says_that_its_payload_was_left_out() {
    let house = House::new().await;
    let endpoint = house.endpoint("one").await;
    let large = delivery(&house.event("large", at(0)), endpoint.id);
    let letter = DeadLetter::of(large, DeathReason::TooLarge, at(1)).without_payload();
    let kept = house.store.keep_dead_letters(std::slice::from_ref(&letter));
    kept.await.unwrap();
    let listed = house.get("/dead-letter").await.with(200);
    let one = house.get(format!("/dead-letter/{}", letter.id)).await;
    for one in [&listed["data"][0], &one.with(200)] {
        assert_eq!(
            (&one["reason"], &one["payloadLeftOut"]),
            (&"too_large".into(), &true.into())
        );
    }
}

#[tokio::test]
async fn dead_letters_of_what_was_deleted_say_so_and_no_replay_takes_them() {
    let house = House::new().await;
    let kept = house.endpoint("kept").await;
    let kept = letters(&house, kept.id, 2).await;
    let left = house.endpoint("left").await;
    let left = letters(&house, left.id, 3).await;
    let large = delivery(&house.event("large", at(0)), kept[0].delivery.endpoint_id);
    let large = DeadLetter::of(large, DeathReason::TooLarge, at(1)).without_payload();
    let added = house.store.keep_dead_letters(std::slice::from_ref(&large));
    added.await.unwrap();
    let replay = r#"{"filter":{},"dryRun":true}"#;
    let counted = async || house.post("/replay", replay).await.with(202)["total"].clone();
    let why = async |letter: &DeadLetter| {
        let one = house.get(format!("/dead-letter/{}", letter.id)).await;
        one.with(200)["notReplayable"].clone()
    };
    let named = |letter: &DeadLetter| json!({"deadLetterIds": [kept[0].id, letter.id]}).to_string();
    assert_eq!(
        (counted().await, why(&left[0]).await),
        (5.into(), Value::Null)
    );

    house.delete("/app/acme/endpoint/left").await.with(204);
    assert_eq!(why(&kept[0]).await, Value::Null);
    assert_eq!(why(&left[0]).await, "endpoint_deleted");
    assert_eq!(why(&large).await, "payload_left_out");
    assert_eq!(counted().await, 2);
    let path = format!("/dead-letter?endpoint_id={}", left[0].delivery.endpoint_id);
    let listed = house.get(path).await.with(200);
    assert_eq!(listed["data"][2]["notReplayable"], "endpoint_deleted");
    for (letter, says) in [
        (&left[1], "cannot be replayed: its endpoint was deleted"),
        (&large, "resend the event instead"),
    ] {
        let refused = house.post("/replay", &named(letter)).await;
        refused.refuses("deadLetterIds", says);
    }
    house.post("/replay", &named(&kept[1])).await.with(202);
    // Who asks for just that endpoint is told why there is nothing to do; where there never was anything, there is not.
    let of = |endpoint: EndpointId| {
        json!({"filter": {"endpointId": endpoint}, "dryRun": true}).to_string()
    };
    let refused = house
        .post("/replay", &of(left[0].delivery.endpoint_id))
        .await;
    refused.refuses("filter", "its endpoint was deleted");
    let nothing = house.post("/replay", &of(EndpointId::new())).await;
    assert_eq!(nothing.with(202)["total"], 0);

    house.delete("/app/acme").await.with(204);
    assert_eq!(why(&kept[0]).await, "application_deleted");
    assert_eq!(counted().await, 0);
    let refused = house.post("/replay", &named(&kept[1])).await;
    refused.refuses("deadLetterIds", "its application was deleted");
}

#[tokio::test]
async fn a_filter_is_taken_in_either_spelling() {
    let house = House::new().await;
    let one = house.endpoint("one").await;
    letters(&house, one.id, 3).await;
    let empty = house.endpoint("two").await;
    let acme = house.app.id;
    for (query, found) in [
        ("app_id=acme".to_owned(), 3),
        (format!("appId={acme}"), 3),
        ("appId=acme&endpointId=two".to_owned(), 0),
        ("app_id=acme&endpointId=one".to_owned(), 3),
        (format!("endpointId={}", empty.id), 0),
        (format!("endpoint_id={}", one.id), 3),
        ("eventType=other".to_owned(), 0),
        ("event_type=other".to_owned(), 0),
        (format!("after={}&before={}&limit=9", at(100), at(102)), 1),
    ] {
        let listed = house.get(format!("/dead-letter?{query}")).await.with(200);
        assert_eq!(ids(&listed).len(), found, "{query}");
        if !query.contains("app") {
            let path = format!("/app/acme/dead-letter?{query}");
            assert_eq!(
                ids(&house.get(path).await.with(200)).len(),
                found,
                "{query}"
            );
        }
    }
}

#[tokio::test]
async fn a_filter_that_cannot_be_understood_is_refused_and_one_that_finds_nobody_is_not_found() {
    let house = House::new().await;
    letters(&house, house.endpoint("one").await.id, 1).await;
    let all = "expected app_id, endpoint_id, event_type, after, before, limit, iterator, order";
    for (query, field, says) in [
        ("bogus=1", "bogus", all),
        ("limit=1&appID=acme", "appID", all),
        ("app_id=a%20b", "app_id", "an application's id or uid"),
        (
            "appId=acme&endpointId=a%20b",
            "endpoint_id",
            "an endpoint's id or uid",
        ),
        ("app_id=acme&appId=other", "appId", "two different values"),
        ("eventType=a%20b", "event_type", ""),
        ("after=yesterday", "after", "RFC 3339"),
        ("before=1", "before", "RFC 3339"),
        ("limit=many", "limit", "1 to 250"),
        ("iterator=x", "iterator", "an iterator"),
    ] {
        for base in ["/dead-letter", "/app/acme/dead-letter"] {
            let answer = house.get(format!("{base}?{query}")).await;
            answer.refuses(field, says);
        }
    }
    for (query, body) in [
        ("appId=nope", r#"{"filter":{"appId":"nope"}}"#),
        (
            "appId=acme&endpointId=zz",
            r#"{"filter":{"appId":"acme","endpointId":"zz"}}"#,
        ),
    ] {
        house.get(format!("/dead-letter?{query}")).await.with(404);
        house.post("/replay", body).await.with(404);
    }
    for base in ["/replay", "/app/acme/replay"] {
        let answer = house.get(format!("{base}?status=running")).await;
        answer.refuses("status", "expected limit, iterator, order");
    }
}

#[tokio::test]
async fn a_replay_by_ids_is_counted_stored_and_steered() {
    let house = House::new().await;
    let all = letters(&house, house.endpoint("one").await.id, 2).await;
    let body = json!({"deadLetterIds": [all[1].id, all[0].id, all[1].id], "rate": 7}).to_string();
    let made = house.post("/replay", &body).await.with(202);
    assert_eq!(
        (&made["status"], &made["total"]),
        (&"running".into(), &2.into())
    );
    assert_eq!(
        (&made["done"], &made["failed"], &made["rate"]),
        (&0.into(), &0.into(), &7.into())
    );
    let path = format!("/replay/{}", made["id"].as_str().unwrap());
    let steered = async |verb: &str| house.post(format!("{path}/{verb}"), "").await;
    assert_eq!(steered("pause").await.with(200)["status"], "paused");
    assert_eq!(steered("pause").await.with(200)["status"], "paused");
    assert_eq!(steered("resume").await.with(200)["status"], "running");
    assert_eq!(steered("cancel").await.with(200)["status"], "cancelled");
    assert_eq!(steered("resume").await.with(409)["code"], "conflict");
    assert_eq!(house.get(&path).await.with(200)["status"], "cancelled");
    assert_eq!(ids(&house.get("/replay").await.with(200)).len(), 1);
    let stored = house
        .store
        .replay(made["id"].as_str().unwrap().parse().unwrap())
        .await;
    let stored = stored.unwrap().unwrap();
    assert_eq!(stored.status, ReplayStatus::Cancelled);
    assert!(stored.requested_by.starts_with("tok_"));
    assert!(matches!(&stored.selection, Selection::Ids(ids) if ids.len() == 2 && ids[0] < ids[1]));
}

#[tokio::test]
async fn a_replay_that_its_owner_paused_says_why_until_it_is_resumed() {
    let house = House::new().await;
    letters(&house, house.endpoint("one").await.id, 2).await;
    let made = house.post("/replay", r#"{"filter":{}}"#).await.with(202);
    assert_eq!(made["pausedBecause"], Value::Null);
    let id = made["id"].as_str().unwrap();
    let (running, why) = ([ReplayStatus::Running], "the store refuses its progress");
    let paused = ReplayStatus::Paused;
    let halted =
        house
            .store
            .set_replay_status(id.parse().unwrap(), &running, paused, Some(why), at(9));
    halted.await.unwrap();
    let path = format!("/replay/{id}");
    let read = house.get(&path).await.with(200);
    assert_eq!(
        (&read["status"], &read["pausedBecause"]),
        (&"paused".into(), &why.into())
    );
    let listed = house.get("/replay").await.with(200);
    assert_eq!(listed["data"][0]["pausedBecause"], why);
    let resumed = house.post(format!("{path}/resume"), "").await.with(200);
    assert_eq!(resumed["pausedBecause"], Value::Null);
    let paused = house.post(format!("{path}/pause"), "").await.with(200);
    assert_eq!(paused["pausedBecause"], Value::Null);
}

#[tokio::test]
async fn a_replay_by_filter_is_bounded_when_it_begins() {
    let house = House::new().await;
    letters(&house, house.endpoint("one").await.id, 3).await;
    let body = json!({"filter": {"endpoint_id": "one", "after": at(100).to_string()}}).to_string();
    let made = house.post("/app/acme/replay", &body).await.with(202);
    assert_eq!((&made["total"], &made["rate"]), (&2.into(), &100.into()));
    let stored = house
        .store
        .replay(made["id"].as_str().unwrap().parse().unwrap())
        .await;
    let stored = stored.unwrap().unwrap();
    assert_eq!(stored.app_id, Some(house.app.id));
    let Selection::Filter(filter) = stored.selection else {
        panic!("not by filter")
    };
    let bound = filter.before.unwrap();
    assert!(bound.since(stored.created_at) <= Duration::from_millis(1));
    assert!(filter.only_replayable && filter.app_id == Some(house.app.id));
}

#[tokio::test]
async fn a_dry_run_counts_and_leaves_nothing_behind() {
    let house = House::new().await;
    letters(&house, house.endpoint("one").await.id, 3).await;
    let dry = house
        .post("/replay/", r#"{"filter":{},"dryRun":true}"#)
        .await
        .with(202);
    assert_eq!(
        (&dry["total"], &dry["id"], &dry["status"]),
        (&3.into(), &Value::Null, &"dry_run".into())
    );
    assert!(ids(&house.get("/replay").await.with(200)).is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_replay_is_said_with_its_place() {
    let house = House::new().await;
    let missing = postrider_model::DeadLetterId::derive(&[b"x"]);
    for (body, field, says) in [
        ("{}".to_owned(), "filter", "either deadLetterIds or filter"),
        (
            r#"{"deadLetterIds":[],"filter":{}}"#.to_owned(),
            "filter",
            "either",
        ),
        (
            r#"{"deadLetterIds":["dl_x"],"filter":{}}"#.to_owned(),
            "filter",
            "either",
        ),
        (
            r#"{"filter":{"after":"2026-11-23T00:00:00Z","before":"2026-11-22T00:00:00Z"}}"#
                .to_owned(),
            "filter",
            "before lies before after",
        ),
        (
            r#"{"deadLetterIds":[]}"#.to_owned(),
            "deadLetterIds",
            "1 to 1000 ids",
        ),
        (
            json!({"deadLetterIds": [missing]}).to_string(),
            "deadLetterIds",
            "no dead letter dl_h",
        ),
        (
            r#"{"deadLetterIds":["x"]}"#.to_owned(),
            "deadLetterIds",
            "not an id",
        ),
        (r#"{"filter":{},"rate":0}"#.to_owned(), "rate", "1 to 10000"),
        (
            r#"{"filter":{"endpoint":"x"}}"#.to_owned(),
            "filter",
            "is not known here: expected appId",
        ),
        (
            r#"{"filter":{"appId":"a b"}}"#.to_owned(),
            "filter",
            "an application's id or uid",
        ),
    ] {
        house.post("/replay", &body).await.refuses(field, says);
    }
}

#[tokio::test]
async fn another_applications_dead_letters_and_replays_are_not_there() {
    let house = House::new().await;
    let all = letters(&house, house.endpoint("one").await.id, 1).await;
    let replay = house
        .post("/app/acme/replay", r#"{"filter":{}}"#)
        .await
        .with(202);
    let other = house
        .store
        .insert_application(&application("other"))
        .await
        .unwrap();
    let token = add_token(&house.store, TokenScope::Application(other.id)).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let send = async |method: &str, path: &str, body: &str| {
        house.send(method, path, &headers, body.to_owned()).await
    };
    assert!(ids(&send("GET", "/app/other/dead-letter", "").await.with(200)).is_empty());
    let letter = all[0].id;
    send("GET", &format!("/app/other/dead-letter/{letter}"), "")
        .await
        .with(404);
    send("DELETE", &format!("/app/other/dead-letter/{letter}"), "")
        .await
        .with(404);
    send("GET", "/app/other/dead-letter?app_id=acme", "")
        .await
        .with(404);
    let body = json!({"deadLetterIds": [letter]}).to_string();
    send("POST", "/app/other/replay", &body)
        .await
        .refuses("deadLetterIds", "no dead letter");
    let id = replay["id"].as_str().unwrap();
    send("GET", &format!("/app/other/replay/{id}"), "")
        .await
        .with(404);
    send("POST", &format!("/app/other/replay/{id}/cancel"), "")
        .await
        .with(404);
    send("GET", "/dead-letter", "").await.with(403);
    send("GET", "/replay", "").await.with(403);
}
