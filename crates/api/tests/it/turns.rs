//! How much is read at once.

use std::sync::Arc;
use std::time::Duration;

use postrider_api::Options;

use crate::house::House;

/// What reads much, of an application and of all.
const LARGE: [&str; 6] = [
    "/app/acme/msg",
    "/app/acme/endpoint/hook/msg",
    "/app/acme/attempt/endpoint/hook",
    "/app/acme/dead-letter",
    "/dead-letter",
    "replay",
];

async fn read_much(house: &House, what: &str) -> (u16, Option<String>) {
    let answer = match what {
        "replay" => {
            house
                .post("/replay", r#"{"filter":{},"dryRun":true}"#)
                .await
        }
        path => house.get(path).await,
    };
    let retry_after = answer.headers.get("retry-after");
    let retry_after = retry_after.map(|text| text.to_str().unwrap().to_owned());
    (answer.status.as_u16(), retry_after)
}

#[tokio::test(start_paused = true)]
async fn with_a_store_that_hangs_only_so_many_requests_read_from_it_and_the_rest_is_told_to_ask_again()
 {
    let options = Options {
        turns: LARGE.len(),
        turn_wait: Duration::from_secs(5),
        ..Options::default()
    };
    let house = Arc::new(House::with(options).await);
    house.endpoint("hook").await;
    house.store.hold_listings(true);
    let began = tokio::time::Instant::now();
    let hanging = LARGE.map(|what| {
        let house = Arc::clone(&house);
        tokio::spawn(async move { read_much(&house, what).await.0 })
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(hanging.iter().all(|one| !one.is_finished()));
    for what in LARGE {
        let waited = tokio::time::Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(60), read_much(&house, what)).await;
        let (status, retry_after) = answer.expect(what);
        assert_eq!((status, retry_after.as_deref()), (503, Some("1")), "{what}");
        assert_eq!(waited.elapsed(), Duration::from_secs(5), "{what}");
    }
    // What is small, and health, stand behind none of it.
    let small = tokio::time::Instant::now();
    house.get("/health").await.with(204);
    house.get("/app/acme/endpoint/hook").await.with(200);
    house.get("/app").await.with(200);
    assert_eq!(small.elapsed(), Duration::ZERO);
    house.store.hold_listings(false);
    for one in hanging {
        assert!(one.await.unwrap() < 300);
    }
    for what in LARGE {
        assert!(read_much(&house, what).await.0 < 300, "{what}");
    }
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_turn_has_it_as_soon_as_one_ends_also_where_a_client_went_away() {
    let options = Options {
        turns: 1,
        ..Options::default()
    };
    let house = Arc::new(House::with(options).await);
    house.store.hold_listings(true);
    let [gone, waits] = ["/app/acme/msg", "/dead-letter"].map(|what| {
        let house = Arc::clone(&house);
        tokio::spawn(async move { read_much(&house, what).await.0 })
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    gone.abort();
    house.store.hold_listings(false);
    assert_eq!(waits.await.unwrap(), 200);
}
