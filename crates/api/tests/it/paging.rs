//! Listings page by page, both ways.

use serde_json::Value;

use crate::house::{House, at};

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
