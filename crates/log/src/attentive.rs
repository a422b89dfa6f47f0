//! Hearing what the group wants while a batch is dealt with.

use std::collections::{BTreeSet, VecDeque};

use postrider_model::TopicPartition;
use tokio_util::sync::CancellationToken;

use crate::{BatchLimit, LogError, Polled, Reader};

/// A reader that is listened to while what it returned is dealt with: whoever waits for a store, or for brokers that take
/// nothing, with a batch in hand must not keep a whole group waiting for what it wants back.
pub struct Attentive {
    reader: Box<dyn Reader>,
    ours: BTreeSet<TopicPartition>,
    /// Heard meanwhile, and to be told next.
    news: VecDeque<Result<Polled, LogError>>,
}

impl Attentive {
    /// Listens to this one.
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self {
            reader,
            ours: BTreeSet::new(),
            news: VecDeque::new(),
        }
    }

    /// As [`Reader::next`]: what was heard meanwhile comes first.
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Polled, LogError> {
        match self.news.pop_front() {
            Some(heard) => heard,
            None => self.poll(limit).await,
        }
    }

    /// What was heard meanwhile, one after the other.
    pub fn missed(&mut self) -> Option<Result<Polled, LogError>> {
        self.news.pop_front()
    }

    /// Deals with what was returned, by `dealing`, and reads no more meanwhile. `leave` is cancelled once some of what is ours
    /// is wanted back, or was lost: `dealing` is to end then where it would only wait.
    pub async fn beside<D: Future>(&mut self, leave: &CancellationToken, dealing: D) -> D::Output {
        // Nothing but news comes then. What is ours from now on is paused as soon as it is heard of.
        const NONE: BatchLimit = BatchLimit {
            records: 1,
            bytes: 1,
        };
        let mut dealing = std::pin::pin!(dealing);
        let mut paused: Vec<_> = self.ours.iter().copied().collect();
        self.reader.pause(&paused);
        let dealt = loop {
            let heard = tokio::select! {
                biased;
                dealt = &mut dealing => break dealt,
                heard = self.poll(NONE) => heard,
            };
            match &heard {
                Ok(Polled::Assigned(assigned)) => {
                    let new: Vec<_> = assigned.iter().map(|one| one.at).collect();
                    self.reader.pause(&new);
                    paused.extend(new);
                }
                Ok(Polled::Revoking(_) | Polled::Lost(_)) => leave.cancel(),
                Ok(Polled::Records(_)) | Err(_) => {}
            }
            // What was removed unread is said once, and reading goes on behind it.
            let goes_on = matches!(heard, Ok(_) | Err(LogError::Trimmed { .. }));
            self.news.push_back(heard);
            if !goes_on {
                // Told next: whoever cannot go on is not asked again and again.
                break dealing.await;
            }
        };
        self.reader.resume(&paused);
        dealt
    }

    async fn poll(&mut self, limit: BatchLimit) -> Result<Polled, LogError> {
        let polled = self.reader.next(limit).await;
        match &polled {
            Ok(Polled::Assigned(assigned)) => self.ours.extend(assigned.iter().map(|one| one.at)),
            Ok(Polled::Revoking(gone) | Polled::Lost(gone)) => {
                self.ours.retain(|at| !gone.contains(at));
            }
            Ok(Polled::Records(_)) | Err(_) => {}
        }
        polled
    }
}
