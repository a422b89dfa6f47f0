//! The thread that commits: one commit at a time, of everything that was asked for meanwhile.
//!
//! Beside the one that polls, because librdkafka tells of a commit's end only to a caller who waits for it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use postrider_failpoint::thread_fail_point;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;

use super::Member;
use super::context::Consumer;

/// How often it looks whether leases are to be renewed or a failed commit is to be repeated.
const LOOK: Duration = Duration::from_millis(50);

/// Starts it.
pub(super) fn start(member: Arc<Member>) -> std::io::Result<()> {
    let name = format!("commit-{}", member.group);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || run(&member))
        .map(drop)
}

fn run(member: &Member) {
    while !*member.ended.borrow() {
        let Some((consumer, list)) = next(member) else {
            continue;
        };
        thread_fail_point!("kafka.commit.before");
        let failed = match consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => None,
            Err(error) => {
                tracing::debug!(group = %member.group, %error, "a commit");
                let code = error.rdkafka_error_code();
                Some(code.unwrap_or(RDKafkaErrorCode::Unknown))
            }
        };
        thread_fail_point!("kafka.commit.after");
        // Before anything waits for the consumer's end.
        drop(consumer);
        member.landed(failed);
    }
}

/// Waits for something to commit; none if nothing came in a while.
fn next(member: &Member) -> Option<(Arc<Consumer>, TopicPartitionList)> {
    let consumer = {
        let published = member
            .consumer
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        published.clone()
    };
    let mut commits = member.commits();
    if let Some(consumer) = consumer
        && let Some(list) = commits.take(&member.shared.catalog)
    {
        return Some((consumer, list));
    }
    // What is asked for from here on wakes it: the lock is given up only by waiting.
    let waited = member.asked.wait_timeout(commits, LOOK);
    drop(waited);
    None
}
