//! What a batch comes to, and how it is divided. Pure.

use std::collections::VecDeque;

use postrider_log::{Committed, Completion, Durability, Progress, Purpose, Tenure};
use postrider_model::{NewRecord, Position};

use crate::Route;

/// Where one record goes.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) position: Position,
    pub(crate) route: Route,
    pub(crate) output: Option<NewRecord>,
}

/// What becomes of records of one partition, in order.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) of: Tenure,
    pub(crate) moves: Vec<Move>,
}

/// What is moved together; no partition is there twice.
#[derive(Debug, Default)]
pub(crate) struct Parts(pub(crate) VecDeque<Part>);

impl Parts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many records.
    pub(crate) fn len(&self) -> usize {
        self.moves().count()
    }

    pub(crate) fn moves(&self) -> impl Iterator<Item = &Move> {
        self.0.iter().flat_map(|part| &part.moves)
    }

    /// Takes so many records from the front, at least one.
    pub(crate) fn take(&mut self, most: usize) -> Self {
        let (mut taken, mut left) = (Self::default(), most.max(1));
        while left > 0
            && let Some(mut part) = self.0.pop_front()
        {
            if part.moves.len() > left {
                let rest = part.moves.split_off(left);
                self.0.push_front(Part {
                    of: part.of,
                    moves: rest,
                });
            }
            left -= part.moves.len();
            taken.0.push_back(part);
        }
        taken
    }

    /// Puts what was taken last in front again.
    pub(crate) fn put_back(&mut self, taken: Self) {
        for mut part in taken.0.into_iter().rev() {
            match self.0.front_mut() {
                Some(first) if first.of == part.of => {
                    part.moves.append(&mut first.moves);
                    first.moves = part.moves;
                }
                _ => self.0.push_front(part),
            }
        }
    }

    /// All of it, finished; what for is said by whoever asks.
    pub(crate) fn completion(&self) -> Completion {
        let progress = |part: &Part| {
            let last = part.moves.last()?;
            Some(Progress {
                at: part.of.at,
                epoch: part.of.epoch,
                committed: Committed {
                    next: last.position + 1,
                    metadata: String::new(),
                },
            })
        };
        Completion {
            finished: self.0.iter().filter_map(progress).collect(),
            outputs: self.moves().filter_map(|one| one.output.clone()).collect(),
            durability: Durability::Ordered,
            purpose: Purpose::Moving,
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::TopicPartition;
    use postrider_model::topics::RETRY;

    use super::*;

    fn part(tier: usize, positions: std::ops::Range<Position>) -> Part {
        let moves = positions.map(|position| Move {
            position,
            route: Route::Hop,
            output: None,
        });
        let at = TopicPartition {
            topic: RETRY[tier].topic,
            partition: 0,
        };
        Part {
            of: Tenure { at, epoch: 1 },
            moves: moves.collect(),
        }
    }

    /// How many of each partition, and up to where each is finished.
    fn shape(parts: &Parts) -> Vec<(usize, Position)> {
        let next = parts.completion().finished.into_iter();
        let lens = parts.0.iter().map(|part| part.moves.len());
        lens.zip(next.map(|progress| progress.committed.next))
            .collect()
    }

    #[test]
    fn a_part_of_a_batch_finishes_no_more_than_it_moves_and_the_rest_follows_in_order() {
        let mut all = Parts(VecDeque::from([part(0, 3..8), part(1, 0..4)]));
        let first = all.take(3);
        assert_eq!(shape(&first), [(3, 6)]);
        assert_eq!(shape(&all), [(2, 8), (4, 4)]);
        let second = all.take(4);
        assert_eq!(shape(&second), [(2, 8), (2, 2)]);
        assert_eq!(shape(&all), [(2, 4)]);
        assert_eq!(shape(&all.take(0)), [(1, 3)]);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn what_is_put_back_is_taken_again_as_it_was() {
        for most in 0..10 {
            let mut all = Parts(VecDeque::from([part(0, 3..8), part(1, 0..4)]));
            let taken = all.take(most);
            all.put_back(taken);
            assert_eq!(shape(&all), [(5, 8), (4, 4)], "{most}");
            let positions: Vec<_> = all.moves().map(|one| one.position).collect();
            assert_eq!(positions, [3, 4, 5, 6, 7, 0, 1, 2, 3]);
        }
    }
}
