//! Why the log could not be opened, and what Kafka's errors mean to a caller.

use postrider_log::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::Options;

/// Why the log could not be opened. Whoever gets one of these is starting up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options contradict each other: stop.
    #[error("the log's options: {0}")]
    Options(String),
    /// librdkafka does not take the configuration: stop.
    #[error("the log's options: librdkafka says: {0}")]
    Client(KafkaError),
    /// The brokers cannot be reached or do not answer: try again later.
    #[error("Kafka at {brokers} does not answer: {reason}")]
    Unreachable {
        /// The brokers that were asked.
        brokers: String,
        /// What came instead of an answer.
        reason: String,
    },
    /// The brokers do not take who we say we are, or we do not take who they say they are: stop.
    #[error(
        "Kafka at {brokers} does not let us in, or is not trusted: {reason}: certificates (the brokers' and ours), mechanism, \
         user and password are those of the configuration"
    )]
    Refused {
        /// The brokers that were asked.
        brokers: String,
        /// What they said.
        reason: String,
    },
    /// Topics are missing or not as they must be: an operator has to act.
    #[error("the topics are not as the configuration has them: {}", .0.join("; "))]
    Topics(Vec<String>),
}

impl OpenError {
    /// What librdkafka does not take. Of files it says hardly more than that there is something.
    pub(crate) fn of_client(options: &Options, error: KafkaError) -> Self {
        let Some(tls) = &options.security.tls else {
            return Self::Client(error);
        };
        let files = [
            ("ca", &tls.ca),
            ("certificate", &tls.certificate),
            ("key", &tls.key),
        ];
        for (what, file) in files {
            let Some(file) = file else { continue };
            if let Err(why) = std::fs::File::open(file) {
                return Self::Options(format!("{what} {} cannot be read: {why}", file.display()));
            }
            if error.to_string().contains(&format!("ssl.{what}.location")) {
                let password = match what {
                    "key" => ", or its password is another",
                    _ => "",
                };
                return Self::Options(format!(
                    "{what} {} is none in PEM{password}: {error}",
                    file.display()
                ));
            }
        }
        Self::Client(error)
    }
}

pub(crate) fn closed() -> LogError {
    LogError::Stopped("it was closed".to_owned())
}

/// For what is asked of the brokers beside appends and commits: ask again later.
pub(crate) fn busy(what: &str, error: &KafkaError) -> LogError {
    LogError::Busy(format!("{what}: {error}"))
}

/// Whether it says that our user may not do what was asked: an operator has to act.
pub(crate) fn forbids(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_forbidden)
}

fn is_forbidden(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
    )
}

/// What a failed commit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitFailure {
    /// Ordinary at a rebalance, or passing: commit again.
    Again,
    /// The group goes on without this member: throw its work away.
    Lost,
    /// The brokers take less with a position than was sent: commit again with less.
    TooLong,
    /// Our user may not commit: tell an operator, and ask again once he may have seen to it.
    Forbidden,
}

/// Sorts the failures of a commit. What is unknown is tried again: only those codes say that somebody else may own the
/// partition.
pub(crate) fn commit_failure(code: RDKafkaErrorCode) -> CommitFailure {
    match code {
        RDKafkaErrorCode::UnknownMemberId
        | RDKafkaErrorCode::FencedMemberEpoch
        | RDKafkaErrorCode::FencedInstanceId
        | RDKafkaErrorCode::UnreleasedInstanceId
        | RDKafkaErrorCode::AssignmentLost
        | RDKafkaErrorCode::Fenced
        | RDKafkaErrorCode::Fatal => CommitFailure::Lost,
        RDKafkaErrorCode::OffsetMetadataTooLarge => CommitFailure::TooLong,
        code if is_forbidden(code) => CommitFailure::Forbidden,
        _ => CommitFailure::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_epoch_is_ordinary_and_a_fenced_member_is_not() {
        for again in [
            RDKafkaErrorCode::StaleMemberEpoch,
            RDKafkaErrorCode::IllegalGeneration,
            RDKafkaErrorCode::RebalanceInProgress,
            RDKafkaErrorCode::NotCoordinator,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::OperationTimedOut,
        ] {
            assert_eq!(commit_failure(again), CommitFailure::Again, "{again}");
        }
        for lost in [
            RDKafkaErrorCode::UnknownMemberId,
            RDKafkaErrorCode::FencedMemberEpoch,
            RDKafkaErrorCode::FencedInstanceId,
        ] {
            assert_eq!(commit_failure(lost), CommitFailure::Lost, "{lost}");
        }
    }
}
