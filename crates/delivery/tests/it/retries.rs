//! A failed delivery is tried again as its schedule says, until it is delivered or dead.

use std::time::Duration;

use postrider_model::{DeathReason, EndpointPolicy, Outcome};

use crate::world::{Does, S, Sent, World};

fn policy(schedule: &str) -> EndpointPolicy {
    EndpointPolicy {
        schedule: Some(schedule.parse().unwrap()),
        ..EndpointPolicy::default()
    }
}

fn gaps(sent: &[Sent]) -> Vec<Duration> {
    sent.windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect()
}

/// True if `wait` is `scheduled`, with its jitter and the tiers' allowance.
fn follows(wait: Duration, scheduled: Duration) -> bool {
    let longest = scheduled.mul_f64(1.1) + scheduled.mul_f64(0.02).max(S);
    wait >= scheduled && wait <= longest
}

#[tokio::test(start_paused = true)]
async fn retries_follow_the_schedule_and_end_in_a_dead_letter() {
    let mut world = World::new();
    let id = world.endpoint_with(0, Does::Answer(500), policy("0s,5s,5m,2h"));
    world.start();
    world.publish(&[id]).await;
    world
        .until(3 * 3600 * S, "dead", |world| {
            !world.dead_letters().is_empty()
        })
        .await;

    let waits = gaps(&world.sender.sent_to(id));
    let scheduled = [5, 300, 7200].map(Duration::from_secs);
    assert_eq!(waits.len(), 3);
    for (wait, scheduled) in waits.iter().zip(scheduled) {
        assert!(follows(*wait, scheduled), "{wait:?} for {scheduled:?}");
    }
    let dead = &world.dead_letters()[0];
    assert_eq!(
        (dead.reason, dead.last_status_code),
        (DeathReason::Exhausted, Some(500))
    );
    assert_eq!(dead.delivery.attempts_made, 4);
    let attempts = world.attempts();
    let numbers: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.exhausted))
        .collect();
    assert_eq!(numbers, [(1, false), (2, false), (3, false), (4, true)]);
    assert!(
        attempts[..3]
            .iter()
            .all(|attempt| attempt.next_attempt_at.is_some())
    );
    assert!(world.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_less_than_a_second_waits_in_its_lane() {
    let mut world = World::new();
    let id = world.endpoint_with(0, Does::Script([500, 500].into()), policy("0s,200ms,900ms"));
    world.start();
    world.publish(&[id]).await;
    world
        .until(5 * S, "delivered", |world| world.attempts().len() == 3)
        .await;
    let waits = gaps(&world.sender.sent_to(id));
    assert!(
        waits[0] >= Duration::from_millis(200) && waits[0] < Duration::from_millis(300),
        "{waits:?}"
    );
    assert!(
        waits[1] >= Duration::from_millis(900) && waits[1] < Duration::from_millis(1100),
        "{waits:?}"
    );
    assert!(world.attempts()[2].outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_where_the_endpoint_is_overloaded() {
    for status in [429, 503] {
        let mut world = World::new();
        let id = world.endpoint_with(0, Does::AskFor(status, 60 * S), policy("0s,5s"));
        world.start();
        world.publish(&[id]).await;
        world
            .until(100 * S, "dead", |world| !world.dead_letters().is_empty())
            .await;
        let waits = gaps(&world.sender.sent_to(id));
        assert!(follows(waits[0], 60 * S), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn final_answers_are_dead_letters_at_once() {
    let listed = EndpointPolicy {
        final_statuses: vec![422],
        ..EndpointPolicy::default()
    };
    for (status, policy, outcome) in [
        (410, EndpointPolicy::default(), Outcome::Gone),
        (422, listed, Outcome::Final),
    ] {
        let mut world = World::new();
        let id = world.endpoint_with(0, Does::Answer(status), policy);
        world.start();
        world.publish(&[id]).await;
        world
            .until(S, "dead", |world| !world.dead_letters().is_empty())
            .await;
        assert_eq!(world.dead_letters()[0].reason, DeathReason::Refused);
        assert_eq!(world.attempts()[0].outcome, outcome);
        assert_eq!(world.sender.sent(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_fault_costs_no_attempt_and_is_made_good() {
    let mut world = World::new();
    let id = world.endpoint_with(0, Does::OurFault(3), policy("0s"));
    world.start();
    world.publish(&[id]).await;
    world
        .until(60 * S, "delivered", |world| world.attempts().len() == 1)
        .await;
    let attempt = &world.attempts()[0];
    assert_eq!((attempt.number, attempt.outcome), (1, Outcome::Succeeded));
    assert!(world.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_past_its_deadline_is_not_attempted() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Answer(200));
    world.start();
    let mut delivery = world.delivery(id);
    delivery.deadline = delivery.accepted_at;
    world.write(&[delivery]).await;
    world
        .until(S, "dead", |world| !world.dead_letters().is_empty())
        .await;
    assert_eq!(world.dead_letters()[0].reason, DeathReason::Expired);
    assert_eq!(world.sender.sent(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_before_its_time() {
    let mut world = World::new();
    let id = world.endpoint(0, Does::Answer(200));
    world.start();
    let now = tokio::time::Instant::now();
    let delivery = world.delivery(id);
    let at = delivery.accepted_at;
    world
        .write(&[delivery.parked_until(at, at.plus(2 * S))])
        .await;
    world
        .until(3 * S, "sent", |world| world.sender.sent() == 1)
        .await;
    assert!(world.sender.sent_to(id)[0].at - now >= 2 * S);
}
