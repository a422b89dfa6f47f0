//! Tiers that go from one pump to another.

use std::time::Duration;

use postrider_model::topics::{DELIVERIES_NORMAL, PUMP, RETRY};
use postrider_model::{Delivery, EndpointId};
use postrider_pump::Options;

use crate::support::{delivery, ids, start_with};

#[tokio::test(start_paused = true)]
async fn tiers_that_go_to_and_fro_between_two_pumps_lose_nothing_and_repeat_nothing() {
    const COUNT: usize = 500;
    let options = Options {
        batch_records: 7,
        ..Options::default()
    };
    let first = start_with(options);
    first.log.share(PUMP);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = first.second();
    let (now, endpoint) = (first.now(), EndpointId::new());
    let mut expected = Vec::new();
    for n in 0..COUNT as u64 {
        let due = now.plus(Duration::from_millis(1000 + n * 14));
        let retry: Delivery = delivery(endpoint, now).retry_at(now, due);
        first.wait_in(&RETRY, &retry).await;
        expected.push(retry.id.to_string());
    }
    expected.sort();
    let tiers: Vec<_> = RETRY
        .iter()
        .flat_map(|tier| first.log.partitions(tier.topic))
        .collect();
    for n in 0..400 {
        tokio::time::sleep(Duration::from_micros(n * 97)).await;
        for _ in 0..n % 13 {
            tokio::task::yield_now().await;
        }
        // Told in time, and all at once.
        match n % 3 {
            0 => first.log.lose(PUMP, &tiers),
            _ => first.log.revoke(PUMP, &tiers),
        }
    }
    let came = first.out(DELIVERIES_NORMAL, COUNT).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(ids(&came), expected);
    assert_eq!(first.log.records(DELIVERIES_NORMAL).len(), COUNT);
    second.stop().await.unwrap();
    first.stop().await.unwrap();
}
