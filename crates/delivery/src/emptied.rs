//! A batch of what is finished while a commit is under way, without what follows from it.

use postrider_model::NewRecord;

use crate::finished::Finished;

/// A batch while a commit has what follows from it, so that nothing of that is copied.
pub(crate) struct Emptied {
    pub(crate) finished: Vec<Finished>,
    /// How many outputs each had.
    outputs: Vec<usize>,
}

impl Emptied {
    pub(crate) fn of(mut finished: Vec<Finished>) -> (Self, Vec<NewRecord>) {
        let lengths = finished.iter().map(|finished| finished.outputs.len());
        let lengths: Vec<usize> = lengths.collect();
        let mut outputs = Vec::with_capacity(lengths.iter().sum());
        for finished in &mut finished {
            outputs.append(&mut finished.outputs);
        }
        let emptied = Self {
            finished,
            outputs: lengths,
        };
        (emptied, outputs)
    }

    /// The batch as it was.
    pub(crate) fn filled(mut self, outputs: Vec<NewRecord>) -> Vec<Finished> {
        let mut outputs = outputs.into_iter();
        for (finished, length) in self.finished.iter_mut().zip(self.outputs) {
            finished.outputs.extend(outputs.by_ref().take(length));
        }
        self.finished
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::topics;

    use super::*;
    use crate::finished::Of;

    #[test]
    fn a_batch_whose_commit_failed_has_what_followed_from_each_again() {
        let output = |n: usize| NewRecord::new(topics::ATTEMPTS, "key", n.to_string());
        let finished = |outputs: &[usize]| Finished {
            of: Of::Lost,
            weight: 0,
            aside: false,
            outputs: outputs.iter().copied().map(output).collect(),
        };
        let batch: Vec<Finished> = [&[][..], &[0, 1], &[], &[2], &[3, 4, 5]]
            .map(finished)
            .to_vec();
        let (emptied, outputs) = Emptied::of(batch.clone());
        assert_eq!(outputs, (0..6).map(output).collect::<Vec<_>>());
        assert!(emptied.finished.iter().all(|one| one.outputs.is_empty()));
        let filled = emptied.filled(outputs);
        let of = |batch: Vec<Finished>| batch.into_iter().map(|one| one.outputs).collect();
        let (filled, batch): (Vec<_>, Vec<_>) = (of(filled), of(batch));
        assert_eq!(filled, batch);
    }
}
