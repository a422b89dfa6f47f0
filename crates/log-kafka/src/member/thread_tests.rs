//! A member's thread without a group: what it hears is said by the tests.

use postrider_log::{
    Committed, Committer as _, Completion, Durability, LogError, Position, Progress, Purpose,
    Subscription, Tenure,
};
use postrider_model::topics::{self, EVENTS, FANOUT};

use super::*;
use crate::catalog::Catalog;
use crate::member::KafkaCommitter;
use crate::shared::Shared;
use crate::{LogMetrics, Options};

const AT: TopicPartition = TopicPartition {
    topic: EVENTS,
    partition: 0,
};

fn member() -> Arc<Member> {
    let metrics = LogMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    // Nobody listens there.
    let mut options = Options::new("127.0.0.1:9", topics::all(), metrics);
    // The longest that may be: however long a machine stands still, it ends no lease.
    options.lease = Duration::from_secs(60);
    let catalog = Arc::new(Catalog::new(&options));
    let shared = Arc::new(Shared::new(&options, catalog).unwrap());
    Member::new(shared, &Subscription::to(FANOUT, EVENTS)).unwrap()
}

/// As once the first commit was acknowledged, and the reader has heard of it.
fn own(thread: &mut Thread<'_>, next: Position) -> Tenure {
    let member = thread.member;
    let metadata = String::new();
    let placed = Placed {
        at: AT,
        committed: Committed { next, metadata },
        from: next,
    };
    thread.take_over(vec![placed]);
    assert!(!thread.broken);
    land(member, None);
    thread.tell_arrived();
    let told = member.seats().events.pop_back();
    let Some(Ok(Polled::Assigned(assigned))) = told else {
        panic!("an assignment was due, not {told:?}");
    };
    assigned[0].tenure()
}

fn land(member: &Member, failed: Option<rdkafka::error::RDKafkaErrorCode>) {
    let taken = member.commits().take(&member.shared.catalog);
    assert!(taken.is_some());
    member.landed(failed);
}

fn finished(of: Tenure, next: Position) -> Completion {
    let metadata = String::new();
    let progress = Progress {
        at: of.at,
        epoch: of.epoch,
        committed: Committed { next, metadata },
    };
    Completion {
        finished: vec![progress],
        outputs: Vec::new(),
        durability: Durability::Ordered,
        purpose: Purpose::Pipeline,
    }
}

#[tokio::test]
async fn what_was_in_hand_before_a_loss_neither_finishes_nor_gives_up_what_is_ours_anew() {
    let member = member();
    let mut thread = Thread::new(&member, member.build().unwrap());
    let committer = KafkaCommitter::new(Arc::clone(&member));
    let before = own(&mut thread, 5);
    thread.act(Mark::Lost(vec![AT]));
    let anew = own(&mut thread, 7);
    assert!(anew.epoch > before.epoch, "{before:?}, {anew:?}");
    // Neither the loss nor the new assignment has been heard of.
    let refused = {
        let asked = committer.complete(finished(before, 6));
        let asked = tokio::time::timeout(Duration::from_secs(60), asked).await;
        asked.expect("nobody commits here: what is taken waits for ever")
    };
    assert!(matches!(refused, Err(LogError::Lost(AT))), "{refused:?}");
    committer.release(&[before]).await.unwrap();
    assert!(committer.holds(AT));
    thread.act(Mark::Revoked(vec![AT]));
    thread.give_up();
    assert_eq!(member.seats().tenures(&[AT]), [anew], "it is not drained");
    committer.release(&[anew]).await.unwrap();
    thread.give_up();
    assert_eq!(member.seats().tenures(&[AT]), []);
    assert!(!committer.holds(AT));
}

#[test]
fn a_commit_that_lost_its_partitions_takes_nothing_of_what_is_ours_anew() {
    let member = member();
    let mut thread = Thread::new(&member, member.build().unwrap());
    let before = own(&mut thread, 5);
    member.lose(&[before]);
    let anew = own(&mut thread, 7);
    // Told late by the thread that commits.
    member.lose(&[before]);
    assert_eq!(member.seats().tenures(&[AT]), [anew]);
    assert!(member.leases.hold(AT));
}

#[test]
fn a_member_whose_commit_is_refused_in_the_middle_of_a_drain_answers_the_group() {
    let member = member();
    let mut thread = Thread::new(&member, member.build().unwrap());
    own(&mut thread, 5);
    thread.act(Mark::Revoked(vec![AT]));
    thread.give_up();
    assert_eq!(thread.leaving, [AT]);
    member.commits().restart(AT, 5);
    land(
        &member,
        Some(rdkafka::error::RDKafkaErrorCode::UnknownMemberId),
    );
    thread.give_up();
    assert!(thread.leaving.is_empty());
}
