//! Attempts, and what they tell of deliveries.

use postrider_model::{Clock, DeadLetter, DeathReason, EndpointId, SystemClock};
use postrider_store::DeadLetters;
use serde_json::Value;

use crate::house::{House, at, delivery};

fn ids(listed: &Value) -> Vec<&str> {
    let data = listed["data"].as_array().unwrap();
    data.iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn attempts_are_listed_by_event_and_by_endpoint_and_read_one_by_one() {
    let house = House::new().await;
    let (one, two) = (house.endpoint("one").await, house.endpoint("two").await);
    let event = house.archived("e1", at(1), &[one.id, two.id]).await;
    let failed = house.attempted(&event, one.id, 1, 500, true).await;
    let succeeded = house.attempted(&event, one.id, 2, 200, false).await;
    let other = house.attempted(&event, two.id, 3, 404, false).await;
    let all = house.get("/app/acme/attempt/msg/e1").await.with(200);
    let (failed, succeeded, other) = (
        failed.id.to_string(),
        succeeded.id.to_string(),
        other.id.to_string(),
    );
    assert_eq!(ids(&all), [&other, &succeeded, &failed]);
    let newest = &all["data"][1];
    assert_eq!(
        (&newest["status"], &newest["statusText"]),
        (&0.into(), &"success".into())
    );
    assert_eq!(
        (&newest["responseStatusCode"], &newest["responseDurationMs"]),
        (&200.into(), &12.into())
    );
    assert_eq!(
        (&newest["triggerType"], &newest["msgId"]),
        (&0.into(), &event.id.to_string().into())
    );
    assert_eq!(newest["response"], "\u{0}\u{fffd}well");
    let listed = async |path: String| house.get(path).await.with(200);
    assert_eq!(
        ids(&listed("/app/acme/attempt/endpoint/one/".to_owned()).await),
        [&succeeded, &failed]
    );
    let path = "/app/acme/attempt/msg/e1";
    assert_eq!(
        ids(&listed(format!("{path}?endpoint_id=two")).await),
        [&other]
    );
    assert_eq!(
        ids(&listed(format!("{path}?status=2")).await),
        [&other, &failed]
    );
    assert_eq!(
        ids(&listed(format!("{path}?status=2&limit=1")).await),
        [&other]
    );
    assert_eq!(ids(&listed(format!("{path}?status=0")).await), [&succeeded]);
    assert!(ids(&listed(format!("{path}?status=1")).await).is_empty());
    assert_eq!(
        ids(&listed(format!("{path}?status_code_class=400")).await),
        [&other]
    );
    let bare = listed(format!("{path}?with_content=false")).await;
    assert_eq!(bare["data"][0]["response"], "");
    let read = listed(format!("/app/acme/msg/e1/attempt/{failed}")).await;
    assert_eq!(
        (&read["status"], &read["outcome"]),
        (&2.into(), &"refused".into())
    );
    house
        .get(format!("/app/acme/msg/e1/attempt/{}", event.id))
        .await
        .with(404);
    house
        .get(format!("{path}?status=9"))
        .await
        .refuses("status", "expected 0");
}

#[tokio::test]
async fn an_event_shows_its_endpoints_tried_or_not() {
    let house = House::new().await;
    let mut endpoints = vec![];
    for uid in ["success", "retrying", "failed", "untried"] {
        endpoints.push(house.endpoint(uid).await.id);
    }
    endpoints.push(EndpointId::new());
    let event = house.archived("e1", SystemClock.now(), &endpoints).await;
    house.attempted(&event, endpoints[0], 1, 500, true).await;
    house.attempted(&event, endpoints[0], 2, 200, false).await;
    let retrying = house.attempted(&event, endpoints[1], 1, 500, true).await;
    house.attempted(&event, endpoints[2], 1, 500, false).await;
    let path = "/app/acme/msg/e1/endpoint";
    let listed = house.get(path).await.with(200);
    let data = listed["data"].as_array().unwrap();
    let told: Vec<_> = data
        .iter()
        .map(|one| {
            (
                one["uid"].as_str().unwrap(),
                one["status"].as_u64().unwrap(),
                one["statusText"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("success", 0, "success"),
            ("retrying", 1, "pending"),
            ("failed", 2, "fail"),
            ("untried", 1, "pending")
        ]
    );
    assert_eq!(
        data[1]["nextAttempt"],
        retrying.next_attempt_at.unwrap().to_string()
    );
    assert_eq!(data[3]["nextAttempt"], Value::Null);
    let first = house.get(format!("{path}?limit=3")).await.with(200);
    let rest = house.get(format!(
        "{path}?limit=3&iterator={}",
        first["iterator"].as_str().unwrap()
    ));
    let rest = rest.await.with(200);
    assert_eq!(
        (&first["done"], &rest["done"]),
        (&false.into(), &true.into())
    );
    assert_eq!(rest["data"][0]["uid"], "untried");
    let back = house.get(format!(
        "{path}?limit=2&iterator={}",
        rest["prevIterator"].as_str().unwrap()
    ));
    let back = back.await.with(200);
    assert_eq!(
        (&back["data"][0]["uid"], &back["data"][1]["uid"]),
        (&"retrying".into(), &"failed".into())
    );
}

#[tokio::test]
async fn an_endpoint_shows_each_of_its_events_once_with_its_newest_state() {
    let house = House::new().await;
    let one = house.endpoint("one").await;
    for n in 1..=4 {
        let event = house
            .archived(&format!("e{n}"), at(n * 10), &[one.id])
            .await;
        house.attempted(&event, one.id, 1, 500, true).await;
        let last = if n % 2 == 0 { 200 } else { 500 };
        house.attempted(&event, one.id, 2, last, false).await;
    }
    let uids = |listed: &Value| {
        let data = listed["data"].as_array().unwrap();
        data.iter()
            .map(|one| one["eventId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let path = "/app/acme/endpoint/one/msg";
    let all = house.get(path).await.with(200);
    assert_eq!(uids(&all), ["e4", "e3", "e2", "e1"]);
    assert_eq!(
        (&all["data"][0]["status"], &all["data"][1]["statusText"]),
        (&0.into(), &"fail".into())
    );
    let failed = house.get(format!("{path}?status=2")).await.with(200);
    assert_eq!(uids(&failed), ["e3", "e1"]);
    let first = house.get(format!("{path}?limit=3")).await.with(200);
    let rest = house.get(format!(
        "{path}?limit=3&iterator={}",
        first["iterator"].as_str().unwrap()
    ));
    let rest = rest.await.with(200);
    assert_eq!(
        (uids(&rest), &rest["done"]),
        (vec!["e1".to_owned()], &true.into())
    );
    let back = house.get(format!(
        "{path}?limit=2&iterator={}",
        rest["prevIterator"].as_str().unwrap()
    ));
    assert_eq!(uids(&back.await.with(200)), ["e3", "e2"]);
}

#[tokio::test]
async fn a_delivery_that_was_given_up_without_a_further_attempt_has_failed() {
    let house = House::new().await;
    let (untried, tried) = (
        house.endpoint("untried").await,
        house.endpoint("tried").await,
    );
    let to = [untried.id, tried.id];
    let event = house.archived("e1", SystemClock.now(), &to).await;
    house.attempted(&event, tried.id, 1, 500, true).await;
    let other = house.archived("e2", at(2), &[tried.id]).await;
    house.attempted(&other, tried.id, 1, 500, true).await;
    let stands = async || {
        let listed = house.get("/app/acme/msg/e1/endpoint").await.with(200);
        let of = |n: usize| listed["data"][n]["statusText"].as_str().unwrap().to_owned();
        (of(0), of(1))
    };
    assert_eq!(stands().await, ("pending".to_owned(), "pending".to_owned()));
    let given_up = to.map(|endpoint| {
        let delivery = delivery(&event, endpoint);
        DeadLetter::of(delivery, DeathReason::Expired, SystemClock.now())
    });
    house.store.keep_dead_letters(&given_up).await.unwrap();
    assert_eq!(stands().await, ("fail".to_owned(), "fail".to_owned()));
    let listed = house.get("/app/acme/endpoint/tried/msg").await.with(200);
    let told: Vec<_> = (0..2)
        .map(|n| {
            (
                listed["data"][n]["eventId"].clone(),
                listed["data"][n]["status"].clone(),
            )
        })
        .collect();
    assert_eq!(told, [("e1".into(), 2.into()), ("e2".into(), 1.into())]);
    assert_eq!(listed["data"][0]["nextAttempt"], Value::Null);
    let pending = house.get("/app/acme/endpoint/tried/msg?status=1").await;
    let pending = pending.with(200);
    assert_eq!(pending["data"].as_array().unwrap().len(), 1, "{pending}");
}

#[tokio::test]
async fn the_next_attempt_is_told_until_its_time_has_passed() {
    let house = House::new().await;
    let one = house.endpoint("one").await;
    for (uid, accepted_at, told) in [("young", SystemClock.now(), true), ("late", at(1), false)] {
        let event = house.archived(uid, accepted_at, &[one.id]).await;
        let attempt = house.attempted(&event, one.id, 1, 500, true).await;
        let due = attempt.next_attempt_at.unwrap().to_string();
        let expected = if told { Value::from(due) } else { Value::Null };
        for path in [
            format!("/app/acme/attempt/msg/{uid}"),
            format!("/app/acme/msg/{uid}/endpoint"),
        ] {
            let listed = house.get(&path).await.with(200);
            assert_eq!(listed["data"][0]["nextAttempt"], expected, "{path}");
        }
    }
    let listed = house.get("/app/acme/endpoint/one/msg").await.with(200);
    assert_eq!(listed["data"][1]["nextAttempt"], Value::Null);
    assert_eq!(listed["data"][1]["statusText"], "pending");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_our_fault_and_says_so() {
    let house = House::new().await;
    let one = house.endpoint("one").await;
    house.store.spoil(*one.id.as_bytes());
    let answer = house.get("/app/acme/endpoint/one").await.with(500);
    assert_eq!(answer["code"], "internal_error");
    let says = answer["detail"].as_str().unwrap();
    assert!(says.contains("cannot be read there"), "{says}");
}
