//! What can go wrong, divided by what the caller does next.

use postrider_model::{Position, TopicPartition};

/// Why the log did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// More waits to be written than the log may hold, or it cannot be asked at present. Nothing was written. Try again a
    /// little later.
    #[error("the log is busy: {0}")]
    Busy(String),
    /// What was to be written was not acknowledged in time: any part of it may be there, or may yet come. Write it again:
    /// its readers drop what they know.
    #[error("the log did not acknowledge in time: {0}")]
    Unacknowledged(String),
    /// The disk, or the space that the log may use, is full. Nothing was written. What finishes or removes records is
    /// still taken, out of the reserve.
    #[error("the log is full: {0}")]
    Full(String),
    /// A record is larger than the log takes. Final: never try it again.
    #[error(
        "a record of {size} bytes for topic {topic} is larger than the {limit} that the log takes"
    )]
    TooLarge {
        /// Where it was to go.
        topic: &'static str,
        /// Its size, in bytes.
        size: usize,
        /// The largest, in bytes.
        limit: usize,
    },
    /// A topic that this log was not opened with.
    #[error("there is no topic \"{0}\"")]
    NoSuchTopic(&'static str),
    /// What was to be read is no longer there. Reading goes on at `first`; what lay before it counts as lost.
    #[error("{at} begins at {first}: position {asked} was trimmed")]
    Trimmed {
        /// Which partition.
        at: TopicPartition,
        /// The position asked for.
        asked: Position,
        /// The first that is there.
        first: Position,
    },
    /// This reader no longer owns the partition. Throw its work away; another does it.
    #[error("{0} belongs to another reader now")]
    Lost(TopicPartition),
    /// The log cannot go on, or was closed. Stop the service.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

impl LogError {
    /// True if the same may be asked again a little later: the log has no room, or did not answer in time.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Busy(_) | Self::Full(_) | Self::Unacknowledged(_)
        )
    }
}
