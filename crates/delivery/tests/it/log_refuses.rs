//! No attempt starts whose outcome could not be written.

use postrider_delivery::{DeliveryError, ParkReason};
use postrider_log::{Log, LogError, Purpose};
use postrider_model::{DeathReason, Delivery, EndpointId, topics};

use crate::members::{self, attempts_at, endpoint_in, partitions};
use crate::world::{Does, S, World};

#[tokio::test(start_paused = true)]
async fn while_the_log_is_full_nothing_is_started_and_afterwards_nothing_is_lost_or_repeated() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Answer(200));
    world.start();
    world.publish(&[id]).await;
    world
        .until(S, "works", |world| world.attempts().len() == 1)
        .await;
    world
        .log
        .fail_appends(Purpose::Pipeline, LogError::Full("no space".to_owned()));
    world.publish(&[id; 500]).await;
    tokio::time::sleep(30 * S).await;
    let started = world.sender.sent();
    assert!(
        started <= 100,
        "{started} attempts whose outcome could not be written"
    );
    world.log.recover();
    world
        .until(10 * S, "all delivered", |world| {
            world.attempts().len() == 501
        })
        .await;
    assert_eq!(world.sender.sent(), 501, "nothing twice");
}

/// The bytes of a payload beside which everything else is small.
const LARGE: usize = 4_000;

/// Has one large delivery for each of eight endpoints that fail; they are all in the same commit.
async fn eight_that_fail(world: &mut World) -> Vec<EndpointId> {
    let ids: Vec<_> = (0..8)
        .map(|n| world.endpoint(n, Does::Answer(500)))
        .collect();
    let deliveries: Vec<_> = ids
        .iter()
        .map(|id| Delivery {
            payload: vec![b'x'; LARGE].into(),
            ..world.delivery(*id)
        })
        .collect();
    world.write(&deliveries).await;
    ids
}

fn retries(world: &World) -> usize {
    let tiers = topics::RETRY.iter();
    tiers.map(|tier| world.log.records(tier.topic).len()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_room_for_one_outcome_takes_them_one_by_one() {
    let mut world = World::new();
    eight_that_fail(&mut world).await;
    world.log.refuse_beyond(LARGE * 3 / 2);
    world.start();
    world
        .until(10 * S, "all are finished", |world| world.is_finished())
        .await;
    assert_eq!((retries(&world), world.attempts().len()), (8, 8));
    assert_eq!(world.sender.sent(), 8, "nothing twice");
}

#[tokio::test(start_paused = true)]
async fn what_the_log_has_no_room_for_is_sent_again_from_memory_when_it_is_due() {
    let mut world = World::new();
    let ids = eight_that_fail(&mut world).await;
    world.log.refuse_beyond(LARGE / 2);
    world.start();
    world
        .until(2 * S, "all have failed", |world| {
            world.attempts().len() == 8
        })
        .await;
    tokio::time::sleep(S).await;
    assert_eq!(world.sender.sent(), 8, "none is due");
    let committed = |world: &World| {
        let of = (topics::WORKER, topics::DELIVERIES_NORMAL);
        world.log.committed(of.0, of.1).next
    };
    assert_eq!(committed(&world), 0, "finished though not written");
    for id in &ids {
        world.sender.set(*id, Does::Answer(200));
    }
    world
        .until(30 * S, "all are finished", |world| world.is_finished())
        .await;
    assert_eq!((retries(&world), world.sender.sent()), (0, 16));
    let mut numbers: Vec<_> = world.attempts().iter().map(|one| one.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [[1; 8], [2; 8]].concat());
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_in_memory_is_written_once_there_is_room_and_read_again_after_a_stop() {
    for stops in [false, true] {
        let mut world = World::new();
        eight_that_fail(&mut world).await;
        world.log.refuse_beyond(LARGE / 2);
        world.start();
        world
            .until(2 * S, "all have failed", |world| {
                world.attempts().len() == 8
            })
            .await;
        if stops {
            let within = world.options.drain + 2 * S;
            let stopped = tokio::time::timeout(within, world.stop()).await;
            stopped.unwrap().unwrap();
            assert!(!world.is_finished());
        }
        world.log.recover();
        if stops {
            world.start();
        }
        world
            .until(4 * S, "all are finished", |world| world.is_finished())
            .await;
        assert_eq!(retries(&world), 8);
        // The outcomes of before the stop are not known, but for the attempts.
        assert_eq!(world.sender.sent(), if stops { 16 } else { 8 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_refused_commit_was_all_that_it_had_and_is_lost_reads_what_it_is_given_back()
{
    let mut world = members::world();
    let moved = endpoint_in(&mut world, 0, 0, Does::Answer(200));
    let stays = endpoint_in(&mut world, 1, 0, Does::Answer(200));
    world.start();
    world
        .log
        .fail_appends(Purpose::Pipeline, LogError::Busy("testing".to_owned()));
    world.publish(&[moved]).await;
    world
        .until(S, "the commit is refused", |world| {
            world.metrics.commit_failures.get() > 0
        })
        .await;
    *world.loses.lock().unwrap() = partitions(0);
    world
        .until(5 * S, "it is lost", |world| {
            world.loses.lock().unwrap().is_empty()
        })
        .await;
    world.log.recover();
    world.publish(&[moved, stays]).await;
    world
        .until(5 * S, "what it still has is read", |world| {
            attempts_at(world, stays) == 1
        })
        .await;
    world.log.assign(topics::WORKER, &partitions(0));
    world
        .until(5 * S, "what it is given back is read", World::is_finished)
        .await;
    assert_eq!(attempts_at(&world, moved), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_had_no_room_for_gives_its_memory_back_when_its_partition_is_lost() {
    let mut world = members::world();
    let id = endpoint_in(&mut world, 0, 0, Does::Dead);
    let large = |world: &mut World| Delivery {
        payload: vec![b'x'; LARGE].into(),
        ..world.delivery(id)
    };
    let deliveries: Vec<_> = (0..40).map(|_| large(&mut world)).collect();
    world.write(&deliveries).await;
    world.log.refuse_beyond(LARGE / 2);
    world.start();
    world
        .until(5 * S, "what waits is put aside", |world| {
            world.metrics.parked.of(ParkReason::BreakerOpen).get() > 20
        })
        .await;
    world
        .until(5 * S, "it is in memory", |world| {
            world.metrics.held.get() > 20 * LARGE as i64
        })
        .await;
    world.log.lose(topics::WORKER, &partitions(0));
    world
        .until(5 * S, "its memory is free", |world| {
            world.metrics.held.get() == 0
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_too_large_for_the_log_is_a_dead_letter_and_holds_nobody_up() {
    let mut world = World::new();
    let (fails, works) = (
        world.endpoint(0, Does::Answer(500)),
        world.endpoint(1, Does::Answer(200)),
    );
    let mut large = world.delivery(fails);
    // It fits, and does not with what a retry adds.
    let most = world.log.limits().record_bytes;
    large.payload = vec![b'x'; most - large.to_record().size() - 3].into();
    assert!(large.to_record().size() <= most);
    world.write(std::slice::from_ref(&large)).await;
    world.publish(&[works; 10]).await;
    world.start();
    world
        .until(10 * S, "a dead letter", |world| {
            world.dead_letters().len() == 1 && world.sender.sent_to(works).len() == 10
        })
        .await;
    let letter = world.dead_letters().remove(0);
    assert_eq!(letter.reason, DeathReason::TooLarge);
    assert_eq!(
        (letter.delivery.id, letter.delivery.event_id),
        (large.id, large.event_id)
    );
    assert!(letter.payload_left_out);
    world
        .until(S, "all finished", |world| world.is_finished())
        .await;
    assert_eq!(world.attempts().len(), 11, "the attempt is told");
    assert_eq!(world.metrics.too_large.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stops_ends_the_worker_with_the_reason() {
    let mut world = World::new();
    world.endpoint(0, Does::Answer(200));
    world.start();
    tokio::task::yield_now().await;
    world.log.close().await.unwrap();
    let ended = world.ended().await;
    assert!(
        matches!(ended, Err(DeliveryError::Log(LogError::Stopped(_)))),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_not_held_up_by_a_log_that_takes_nothing() {
    let full = LogError::Full("testing".to_owned());
    let busy = LogError::Busy("testing".to_owned());
    let unacknowledged = LogError::Unacknowledged("testing".to_owned());
    for (hands_over, refusal) in [(false, full), (true, busy), (true, unacknowledged)] {
        let mut world = World::new();
        world.options.cautious_start = hands_over;
        let id = world.endpoint(0, Does::Answer(200));
        world.start();
        world.log.fail_appends(Purpose::Pipeline, refusal);
        world.publish(&[id; 20]).await;
        world
            .until(S, "the log refuses", |world| {
                world.metrics.commit_failures.get() > 0
            })
            .await;
        let within = world.options.drain + 2 * S;
        let stopped = tokio::time::timeout(within, world.stop()).await;
        stopped.unwrap().unwrap();
        let committed = world
            .log
            .committed(topics::WORKER, topics::DELIVERIES_NORMAL);
        assert_eq!(committed.next, 0, "finished though not written");

        world.log.recover();
        world.start();
        world
            .until(30 * S, "all is delivered", |world| {
                world.is_finished() && world.attempts().len() == 20
            })
            .await;
    }
}
