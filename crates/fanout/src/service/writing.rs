//! A batch is written, in one completion or in as many as the log has room for.

use postrider_failpoint::fail_point;
use postrider_log::{LogError, Portion, Tenure, TopicPartition, complete_or_less, shrink};
use postrider_model::{Clock, SystemClock};
use postrider_trace::Span;
use tokio_util::sync::CancellationToken;

use super::Service;
use crate::pending::{Part, Pending};

/// Why the rest of a batch is not to be written. Nothing behind what was refused may be finished: it would be skipped.
pub(super) enum Refused {
    /// The log took nothing until we had to leave: the next start does it, or whoever owns the partition by then.
    Stopped,
    /// Another owner does it.
    Lost(TopicPartition),
    /// The log cannot go on.
    Log(LogError),
}

impl Service {
    /// Writes what is pending, waiting while the log is busy or full; in parts where it has no room for all at once.
    pub(super) async fn write(
        &mut self,
        pending: &mut Pending,
        leave: &CancellationToken,
    ) -> Result<(), Refused> {
        let mut pending = std::mem::take(pending);
        let Some(Tenure { at, .. }) = pending.of else {
            return Ok(());
        };
        fail_point!("fanout.complete.before");
        let mut portion = Portion::of_all();
        while let Some(part) = pending.take(portion.next()) {
            let events = part.events();
            match self.write_part(part, leave).await? {
                None => portion.taken(),
                Some(part) => {
                    portion.refused(events);
                    pending.put_back(part);
                }
            }
        }
        fail_point!("fanout.complete.after");
        if let Some(lately) = &mut self.lately {
            for key in pending.keys {
                lately.finished(at, key);
            }
        }
        pending.spans.into_iter().for_each(Span::end);
        Ok(())
    }

    /// Returns it if it is of several events and the log has no room for them at once.
    async fn write_part(
        &self,
        mut part: Part,
        leave: &CancellationToken,
    ) -> Result<Option<Part>, Refused> {
        let refused = |error: &LogError| tracing::warn!(%error, "fan-out waits for the log");
        let (committer, less) = (&*self.committer, part.events() > 1);
        loop {
            let completion = &part.completion;
            match complete_or_less(committer, completion, less, leave, refused).await {
                Ok(()) => return Ok(None),
                Err(LogError::Full(_)) if less && !leave.is_cancelled() => {
                    return Ok(Some(part));
                }
                Err(error) if error.is_passing() => return Err(Refused::Stopped),
                Err(LogError::Lost(at)) => return Err(Refused::Lost(at)),
                Err(error @ LogError::TooLarge { limit, .. }) => {
                    let outputs = &mut part.completion.outputs;
                    let replaced = shrink(outputs, limit, SystemClock.now());
                    self.metrics.too_large.inc_by(replaced as u64);
                    if replaced == 0 {
                        return Err(Refused::Log(error));
                    }
                }
                Err(error) => return Err(Refused::Log(error)),
            }
        }
    }
}
