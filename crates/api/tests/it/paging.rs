//! Listings page by page, both ways.

use std::collections::HashSet;

use postrider_model::{DeadLetter, DeathReason, Event};
use postrider_store::{DeadLetters, HistoryBatch};
use serde_json::Value;

use crate::house::{House, at, delivery};

fn names(listed: &Value) -> Vec<String> {
    let data = listed["data"].as_array().unwrap();
    let name = |one: &Value| {
        one["uid"]
            .as_str()
            .or(one["eventId"].as_str())
            .map(str::to_owned)
    };
    data.iter().map(|one| name(one).unwrap()).collect()
}

/// Follows `field` from `path` until it is done; returns the pages.
async fn follow(
    house: &House,
    path: &str,
    mut iterator: Option<String>,
    field: &str,
) -> Vec<Vec<String>> {
    let mut pages = vec![];
    loop {
        let more = iterator
            .map(|text| format!("&iterator={text}"))
            .unwrap_or_default();
        let listed = house.get(format!("{path}{more}")).await.with(200);
        if !names(&listed).is_empty() {
            pages.push(names(&listed));
        }
        if listed["done"] == true {
            return pages;
        }
        iterator = listed[field].as_str().map(str::to_owned);
    }
}

#[tokio::test]
async fn endpoints_are_paged_forward_and_back_in_either_order() {
    let house = House::new().await;
    for n in 1..=5 {
        house.endpoint(&format!("e{n}")).await;
    }
    let path = "/app/acme/endpoint?limit=2";
    let pages = follow(&house, path, None, "iterator").await;
    assert_eq!(pages, [vec!["e1", "e2"], vec!["e3", "e4"], vec!["e5"]]);
    let pages = follow(
        &house,
        &format!("{path}&order=descending"),
        None,
        "iterator",
    )
    .await;
    assert_eq!(pages, [vec!["e5", "e4"], vec!["e3", "e2"], vec!["e1"]]);
    let first = house.get("/app/acme/endpoint?limit=5").await.with(200);
    let last = first["data"][4]["id"].as_str().unwrap();
    let pages = follow(&house, path, Some(format!("-{last}")), "prevIterator").await;
    assert_eq!(pages, [vec!["e3", "e4"], vec!["e1", "e2"]]);
}

#[tokio::test]
async fn events_of_one_moment_are_paged_without_loss_or_repeat() {
    let house = House::new().await;
    for n in 1..=5 {
        house.archived(&format!("e{n}"), at(1), &[]).await;
    }
    let pages = follow(&house, "/app/acme/msg?limit=2", None, "iterator").await;
    let mut seen = pages.concat();
    assert_eq!((pages.len(), seen.len()), (3, 5));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let last = house.get("/app/acme/msg?limit=5").await.with(200);
    let back = format!("-{}", last["iterator"].as_str().unwrap());
    let back = follow(&house, "/app/acme/msg?limit=2", Some(back), "prevIterator").await;
    assert_eq!(back.concat().len(), 4);
}

#[tokio::test]
async fn an_empty_listing_is_done_and_a_full_page_knows_that_it_is_the_last() {
    let house = House::new().await;
    let empty = house.get("/app/acme/endpoint").await.with(200);
    assert_eq!(
        empty,
        serde_json::json!({"data":[],"iterator":null,"prevIterator":null,"done":true})
    );
    house.endpoint("e1").await;
    let full = house.get("/app/acme/endpoint?limit=1").await.with(200);
    assert_eq!(full["done"], true);
}

#[tokio::test]
async fn malformed_paging_is_refused() {
    let house = House::new().await;
    for path in [
        "/app",
        "/app/acme/endpoint",
        "/app/acme/msg",
        "/event-type",
        "/dead-letter",
        "/replay",
    ] {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=251", "limit"),
            ("limit=x", "limit"),
            ("iterator=a%20b", "iterator"),
            ("iterator=-", "iterator"),
            ("order=up", "order"),
        ] {
            let answer = house.get(format!("{path}?{query}")).await;
            answer.refuses(field, "expected");
        }
    }
}

/// Every listing of the dialect, with what it knows beside the parameters of pages.
const LISTINGS: [(&str, &str); 8] = [
    ("/app", ""),
    ("/event-type", "include_archived=true&with_content=true"),
    ("/app/acme/endpoint", ""),
    (
        "/app/acme/msg",
        "event_types=a&event_types=b&channel=c&with_content=false",
    ),
    ("/app/acme/msg/first/endpoint", ""),
    (
        "/app/acme/attempt/msg/first",
        "status=0&endpoint_id=hook&with_content=false&expanded_statuses=true",
    ),
    (
        "/app/acme/attempt/endpoint/hook",
        "status_code_class=200&event_types=a,b&with_msg=true",
    ),
    (
        "/app/acme/endpoint/hook/msg",
        "status=2&channel=c&after=2026-01-01T00:00:00Z",
    ),
];

#[tokio::test]
async fn a_filter_that_a_listing_does_not_know_is_refused_and_every_other_is_taken() {
    let house = House::new().await;
    let hook = house.endpoint("hook").await;
    house.archived("first", at(0), &[hook.id]).await;
    for (path, known) in LISTINGS {
        house
            .get(format!("{path}?limit=5&order=ascending&{known}"))
            .await
            .with(200);
        for unknown in [
            "bogus",
            "exclude_apps_with_no_endpoints",
            "eventTypes",
            "uid",
        ] {
            let listed = house.get(format!("{path}?{known}&{unknown}=true")).await;
            listed.refuses(
                unknown,
                "unknown parameter: expected limit, iterator, order",
            );
        }
    }
    house
        .get("/app/acme/msg?tag=x")
        .await
        .refuses("tag", "no tags yet");
}

#[tokio::test]
async fn of_two_values_of_one_parameter_neither_is_taken() {
    let house = House::new().await;
    let refused = house.get("/app?limit=1&limit=2").await;
    refused.refuses("limit", "two different values");
    house.get("/app?limit=1&limit=1").await.with(200);
}

/// A mebibyte.
const LARGE: usize = 1 << 20;

/// Bytes of payloads that end a page.
const PAGE: usize = 8;

/// Events of a mebibyte, a second apart, each tried and given up at an endpoint.
async fn large(house: &House, count: i64) {
    let endpoint = house.endpoint("one").await;
    for n in 0..count {
        let payload = format!("\"{}\"", "x".repeat(LARGE - 2)).into();
        let event = Event {
            payload,
            ..house.event(&format!("e{n}"), at(n))
        };
        house.attempted(&event, endpoint.id, 1, 500, false).await;
        let delivery = delivery(&event, endpoint.id);
        let letter = DeadLetter::of(delivery, DeathReason::Exhausted, at(100 + n));
        let batch = HistoryBatch {
            events: vec![event],
            ..HistoryBatch::default()
        };
        house.record(batch).await;
        house.store.keep_dead_letters(&[letter]).await.unwrap();
    }
}

/// The ids of events in the order of a listing, page by page along `field`, from where `iterator` says.
async fn pages(
    house: &House,
    path: &str,
    mut iterator: Option<Value>,
    field: &str,
) -> Vec<Vec<String>> {
    let mut pages = vec![];
    loop {
        let more = iterator.map(|text| format!("&iterator={}", text.as_str().unwrap()));
        let listed = house.get(format!("{path}{}", more.unwrap_or_default()));
        let listed = listed.await.with(200);
        let data = listed["data"].as_array().unwrap();
        let id = |one: &Value| {
            let id = one["msgId"].as_str().or(one["id"].as_str());
            id.unwrap().to_owned()
        };
        pages.push(data.iter().map(id).collect());
        if listed["done"] == true {
            return pages;
        }
        iterator = Some(listed[field].clone());
    }
}

#[tokio::test]
async fn a_page_of_large_payloads_ends_early_and_the_next_goes_on_there() {
    let house = House::new().await;
    large(&house, 19).await;
    for path in [
        "/app/acme/msg?limit=50",
        "/app/acme/msg?limit=50&with_content=false",
        "/app/acme/endpoint/one/msg?limit=50",
        "/dead-letter?limit=50",
    ] {
        let forward = pages(&house, path, None, "iterator").await;
        let sizes: Vec<_> = forward.iter().map(Vec::len).collect();
        assert_eq!(sizes, [PAGE, PAGE, 3], "{path}");
        let all = forward.concat();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 19, "{path}");
        // Back from the last.
        let last = house
            .get(format!(
                "{}limit=1&order=ascending",
                path.split("limit").next().unwrap()
            ))
            .await;
        let last = last.with(200)["iterator"].as_str().unwrap().to_owned();
        let from = Some(Value::from(format!("-{last}")));
        let mut back = pages(&house, path, from, "prevIterator").await;
        let sizes: Vec<_> = back.iter().map(Vec::len).collect();
        assert_eq!(sizes, [PAGE, PAGE, 2], "{path}");
        back.reverse();
        assert_eq!(back.concat(), all[..18], "{path}");
        // Neither limit is passed over.
        let few = house.get(path.replace("50", "8")).await.with(200);
        assert_eq!(few["data"].as_array().unwrap().len(), 8);
        assert_eq!(few["done"], false);
    }
}
