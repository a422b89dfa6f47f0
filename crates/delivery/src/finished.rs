//! What is to be written of something that is done.

use postrider_model::topics::{ATTEMPTS, ENDPOINT_STATE};
use postrider_model::{NewRecord, Partition, Position, TopicPartition};

/// Something that is done, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) of: Of,
    /// Bytes of memory that are free once it is written.
    pub(crate) weight: usize,
    /// It was put aside without an attempt, in whatever number its lane had.
    pub(crate) aside: bool,
    pub(crate) outputs: Vec<NewRecord>,
}

impl Finished {
    /// True if it writes its delivery again, to wait, to be looked at or set aside: what else follows from something is small.
    pub(crate) fn has_copy(&self) -> bool {
        self.outputs.iter().any(is_copy)
    }

    /// True if there is nothing to be written or given back.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.of, Of::State(_)) && self.outputs.is_empty()
    }

    /// The part that is a copy, if it finishes a record; the rest stays.
    pub(crate) fn split_copy(&mut self) -> Option<Self> {
        let Of::Record(at, _) = self.of else {
            return None;
        };
        if !self.has_copy() {
            return None;
        }
        let outputs = std::mem::take(&mut self.outputs);
        let (copies, rest) = outputs.into_iter().partition(is_copy);
        Some(Self {
            of: std::mem::replace(&mut self.of, Of::State(at.partition)),
            weight: std::mem::take(&mut self.weight),
            aside: std::mem::take(&mut self.aside),
            outputs: {
                self.outputs = rest;
                copies
            },
        })
    }
}

/// Keeps of what lies in these partitions only that its memory is to be given back.
pub(crate) fn forget<'a>(
    all: impl Iterator<Item = &'a mut Finished>,
    partitions: &[TopicPartition],
) {
    for finished in all {
        if finished.of.is_of(partitions) {
            (finished.of, finished.outputs) = (Of::Lost, Vec::new());
        }
    }
}

/// True of what is not small: a delivery once more, or what is set aside.
pub(crate) fn is_copy(record: &NewRecord) -> bool {
    record.topic != ATTEMPTS && record.topic != ENDPOINT_STATE
}

/// What something that is done belongs to. With its partition it is thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    /// This record, which it finishes.
    Record(TopicPartition, Position),
    /// The state of an endpoint whose deliveries lie in partitions of this number.
    State(Partition),
    /// These, whose last commit it is.
    Handover(Vec<TopicPartition>),
    /// What was lost: only its memory is to be given back.
    Lost,
}

impl Of {
    /// True if it belongs to one of these.
    pub(crate) fn is_of(&self, partitions: &[TopicPartition]) -> bool {
        match self {
            Self::Record(at, _) => partitions.contains(at),
            Self::State(number) => partitions.iter().any(|at| at.partition == *number),
            Self::Handover(of) => of.iter().any(|at| partitions.contains(at)),
            Self::Lost => false,
        }
    }
}
