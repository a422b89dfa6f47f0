//! Dead letters whose partition goes from one consumer to another.

use std::time::Duration;

use postrider_model::EndpointId;
use postrider_model::topics::{DEAD_LETTERS, DEADLETTER};
use postrider_store::{DeadLetterFilter, DeadLetters};

use crate::support::{letter, start};

#[tokio::test(start_paused = true)]
async fn a_consumer_that_waits_for_the_store_gives_up_what_is_wanted_back_to_another() {
    let first = start();
    first.log.share(DEADLETTER);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = first.second();
    first.store.memory.set_available(false);
    let letter = letter(EndpointId::new(), 0, first.now());
    first.put(vec![letter.to_record()]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let partitions = first.log.partitions(DEAD_LETTERS);
    first.log.revoke(DEADLETTER, &partitions);
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.store.memory.set_available(true);
    first.kept().await;
    let kept = (first.metrics.kept.get(), second.metrics.kept.get());
    assert_eq!(kept, (0, 1));
    second.stop().await.unwrap();
    first.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_goes_to_and_fro_between_two_consumers_is_kept_and_finished_whoever_had_it() {
    const COUNT: usize = 300;
    let first = start();
    first.log.share(DEADLETTER);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = first.second();
    let endpoint = EndpointId::new();
    let partitions = first.log.partitions(DEAD_LETTERS);
    for n in 0..COUNT {
        let letter = letter(endpoint, 0, first.now());
        first.put(vec![letter.to_record()]).await;
        for _ in 0..n % 11 {
            tokio::task::yield_now().await;
        }
        match n % 3 {
            0 => first.log.lose(DEADLETTER, &partitions),
            1 => first.log.revoke(DEADLETTER, &partitions),
            _ => {}
        }
    }
    first.kept().await;
    let filter = DeadLetterFilter::default();
    let kept = first.store.count_dead_letters(&filter).await.unwrap();
    assert_eq!(kept, COUNT as u64);
    second.stop().await.unwrap();
    first.stop().await.unwrap();
}
