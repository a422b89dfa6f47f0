//! Partitions that are revoked, lost and handed over, and leases that end.

use std::collections::HashSet;

use postrider_model::topics;
use tokio::time::Instant;

use crate::members::{Second, attempts_at, endpoint_in, events, partitions, world};
use crate::world::{Does, MS, S, World};

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_drains_and_is_finished_before_it_is_released_so_nothing_is_repeated() {
    let mut world = world();
    let moved = endpoint_in(&mut world, 0, 0, Does::Slow(300 * MS));
    let stays = endpoint_in(&mut world, 1, 0, Does::Answer(200));
    world.start();
    let second = Second::start(&world).await;
    let all = world.publish(&[moved; 200]).await;
    world
        .until(5 * S, "some are in flight and some are done", |world| {
            attempts_at(world, moved) > 5
        })
        .await;
    let before = events(&world.sender, moved);
    assert!(before.len() > attempts_at(&world, moved), "none in flight");
    assert!(before.len() < all.len(), "none waits");
    world.log.revoke(topics::WORKER, &partitions(0));
    world.publish(&[stays; 20]).await;

    world
        .until(2 * S, "the next owner begins", |_| {
            !second.sent_to(moved).is_empty()
        })
        .await;
    let first = events(&world.sender, moved);
    assert_eq!(first, before, "something was started after the revocation");
    world
        .until(5 * S, "all is delivered", World::is_finished)
        .await;
    let theirs = second.sent_to(moved);
    assert_eq!(theirs.len(), all.len() - first.len(), "repeated or lost");
    let each: HashSet<_> = first.into_iter().chain(theirs).collect();
    assert_eq!(each.len(), all.len());
    assert_eq!(events(&world.sender, stays).len(), 20, "the neighbour");
    assert!(second.sent_to(stays).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_is_released_though_its_neighbours_are_never_quiet() {
    let mut world = world();
    world.commit_takes = 5 * MS;
    let moved = endpoint_in(&mut world, 0, 0, Does::Slow(100 * MS));
    let stays = endpoint_in(&mut world, 1, 0, Does::Answer(200));
    world.start();
    let second = Second::start(&world).await;
    world.publish(&[moved; 50]).await;
    tokio::time::sleep(50 * MS).await;
    world.log.revoke(topics::WORKER, &partitions(0));
    let released = Instant::now() + S;
    while second.sent_to(moved).is_empty() {
        assert!(Instant::now() < released, "a busy neighbour holds it up");
        world.publish(&[stays; 5]).await;
        tokio::time::sleep(MS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_whose_attempts_hang_is_given_up_when_its_time_is_over() {
    let mut world = world();
    let moved = endpoint_in(&mut world, 0, 0, Does::Hang);
    world.options.revoke_drain = 2 * S;
    world.start();
    let second = Second::start(&world).await;
    world.publish(&[moved]).await;
    tokio::time::sleep(50 * MS).await;
    let revoked = Instant::now();
    world.log.revoke(topics::WORKER, &partitions(0));
    world
        .until(10 * S, "the next owner makes the attempt again", |_| {
            !second.sent_to(moved).is_empty()
        })
        .await;
    assert!(revoked.elapsed() >= 2 * S && revoked.elapsed() < 4 * S);
    // The first one's attempt ends meanwhile: what it came to is not written by it.
    world
        .until(60 * S, "all is delivered", World::is_finished)
        .await;
    assert_eq!(attempts_at(&world, moved), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_is_dropped_at_once_and_does_not_hold_up_its_neighbours() {
    let mut world = world();
    let moved = endpoint_in(&mut world, 0, 0, Does::Slow(200 * MS));
    let stays = endpoint_in(&mut world, 1, 0, Does::Answer(200));
    world.start();
    let all = world.publish(&[moved; 200]).await;
    world
        .until(5 * S, "some are in flight and some are done", |world| {
            attempts_at(world, moved) > 5
        })
        .await;
    world.log.lose(topics::WORKER, &partitions(0));
    let (sent, written) = (
        events(&world.sender, moved).len(),
        attempts_at(&world, moved),
    );
    assert!(sent > written, "none in flight");
    assert!(sent < all.len(), "none waits");
    world.publish(&[stays; 500]).await;
    world
        .until(S, "the neighbour is served", |world| {
            attempts_at(world, stays) == 500
        })
        .await;
    tokio::time::sleep(2 * S).await;
    assert_eq!(
        events(&world.sender, moved).len(),
        sent,
        "started though lost"
    );
    assert_eq!(attempts_at(&world, moved), written, "written though lost");
    assert_eq!(world.metrics.held.get(), 0, "the queue was thrown away");
    assert_eq!(world.metrics.waiting.get(), 0, "the queue was thrown away");

    let second = Second::start(&world).await;
    world
        .until(20 * S, "the next owner delivers it", World::is_finished)
        .await;
    assert_eq!(second.sent_to(moved).len(), all.len() - written);
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_skips_what_the_commits_map_says_is_finished() {
    let mut world = world();
    let hanging = endpoint_in(&mut world, 0, 0, Does::Hang);
    let good = endpoint_in(&mut world, 0, 1, Does::Answer(200));
    world.start();
    for _ in 0..20 {
        world.publish(&[hanging, good, good]).await;
    }
    world
        .until(5 * S, "the good one has all", |world| {
            attempts_at(world, good) == 40
        })
        .await;
    let second = Second::start(&world).await;
    world.log.lose(topics::WORKER, &partitions(0));
    world.publish(&[good]).await;
    world
        .until(5 * S, "the new one is delivered", |_| {
            !second.sent_to(good).is_empty()
        })
        .await;
    world
        .until(60 * S, "all is delivered", World::is_finished)
        .await;
    assert_eq!(second.sent_to(good).len(), 1, "only what is new");
    let theirs: HashSet<_> = second.sent_to(hanging).into_iter().collect();
    assert_eq!(theirs.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn while_a_lease_does_not_last_nothing_of_its_partition_starts_and_nothing_is_lost() {
    let mut world = world();
    let held_back = endpoint_in(&mut world, 0, 0, Does::Answer(200));
    let free = endpoint_in(&mut world, 1, 0, Does::Answer(200));
    world.start();
    world.publish(&[held_back]).await;
    world.until(S, "it works", World::is_finished).await;
    world.log.end_leases(topics::WORKER, &partitions(0));
    // As many as a lane takes at once: they wait in it, and nothing is put aside for want of a lease.
    for _ in 0..100 {
        world.publish(&[held_back, free]).await;
    }
    world
        .until(S, "the neighbour is served", |world| {
            attempts_at(world, free) == 100
        })
        .await;
    tokio::time::sleep(30 * S).await;
    assert_eq!(events(&world.sender, held_back).len(), 1, "without a lease");
    world.log.renew_leases(topics::WORKER, &partitions(0));
    world
        .until(5 * S, "all is delivered", World::is_finished)
        .await;
    assert_eq!(events(&world.sender, held_back).len(), 101);
    assert_eq!(attempts_at(&world, held_back), 101);
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_of_an_earlier_ownership_came_to_is_not_written_by_the_next() {
    let mut world = world();
    let id = endpoint_in(&mut world, 0, 0, Does::Slow(S));
    world.start();
    let all = world.publish(&[id; 3]).await;
    world
        .until(S, "in flight", |world| world.sender.sent() > 0)
        .await;
    tokio::time::sleep(500 * MS).await;
    // Lost, and ours again before the attempt has ended: it is read again, and made again.
    world.log.lose(topics::WORKER, &partitions(0));
    world.log.assign(topics::WORKER, &partitions(0));
    world.until(60 * S, "delivered", World::is_finished).await;
    tokio::time::sleep(2 * S).await;
    assert_eq!(
        attempts_at(&world, id),
        all.len(),
        "an attempt was written for both owners"
    );
    assert_eq!(world.metrics.held.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_slept_past_its_lease_and_wakes_with_full_lanes_sends_nothing() {
    let mut world = world();
    let id = endpoint_in(&mut world, 0, 0, Does::Slow(S));
    world.start();
    let all = world.publish(&[id; 500]).await;
    world
        .until(3 * S, "some are done and some wait", |world| {
            attempts_at(world, id) > 0 && world.metrics.waiting.get() > 100
        })
        .await;
    let before = world.sender.sent();
    world.log.end_leases(topics::WORKER, &partitions(0));
    tokio::time::advance(60 * S).await;
    tokio::time::sleep(5 * S).await;
    assert_eq!(world.sender.sent(), before, "sent without a lease");
    // Only now it hears that another has its partition.
    world.log.lose(topics::WORKER, &partitions(0));
    let second = Second::start(&world).await;
    world
        .until(200 * S, "the next owner delivers it", World::is_finished)
        .await;
    assert_eq!(world.sender.sent(), before);
    let sent: HashSet<_> = events(&world.sender, id).into_iter().collect();
    let theirs: HashSet<_> = second.sent_to(id).into_iter().collect();
    assert_eq!(sent.union(&theirs).count(), all.len());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_stopped_between_the_lease_and_the_sending_sends_nothing_when_it_wakes() {
    let mut world = world();
    world.options.cautious_start = true;
    let id = endpoint_in(&mut world, 0, 0, Does::Answer(200));
    let free = endpoint_in(&mut world, 1, 0, Does::Answer(200));
    world.start();
    world.publish(&[id; 20]).await;
    world.until(5 * S, "it works", World::is_finished).await;
    *world.stops.lock().unwrap() = partitions(0);
    for _ in 0..50 {
        world.publish(&[id, free]).await;
    }
    world
        .until(5 * S, "the neighbour is served", |world| {
            attempts_at(world, free) == 50
        })
        .await;
    tokio::time::sleep(5 * S).await;
    assert!(world.stops.lock().unwrap().is_empty(), "it never asked");
    assert_eq!(events(&world.sender, id).len(), 20, "sent without a lease");
    // It was ours all the time: nothing of what was let through and did not go is forgotten, or made twice.
    world.log.renew_leases(topics::WORKER, &partitions(0));
    world
        .until(5 * S, "all is delivered", World::is_finished)
        .await;
    assert_eq!(attempts_at(&world, id), 70);
    assert_eq!(events(&world.sender, id).len(), 70);
    // What it still holds is told every second.
    tokio::time::sleep(2 * S).await;
    let (held, waiting) = (&world.metrics.held, &world.metrics.waiting);
    assert_eq!((held.get(), waiting.get()), (0, 0));

    *world.stops.lock().unwrap() = partitions(0);
    world.publish(&[id; 30]).await;
    world
        .until(5 * S, "it asked", |world| {
            world.stops.lock().unwrap().is_empty()
        })
        .await;
    world.log.lose(topics::WORKER, &partitions(0));
    let second = Second::start(&world).await;
    world
        .until(20 * S, "the next owner delivers it", World::is_finished)
        .await;
    assert_eq!(events(&world.sender, id).len(), 70, "sent though lost");
    assert_eq!(second.sent_to(id).len(), 30);
    tokio::time::sleep(2 * S).await;
    assert_eq!(world.metrics.held.get(), 0);
}
