//! Replays: each that is running is claimed by a lease and carried out, step by step.

mod carrier;
mod pace;
mod page;

use postrider_model::ReplayId;
use postrider_store::{DeadLetters, Replay, Replays};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::carrier::Carrier;
use crate::{DeadLetterError, DeadLetterMetrics, Options, Ports};

/// Claims replays and carries them out beside each other until `stop`. One that is paused is let go at once.
pub(crate) async fn run<S: DeadLetters + Replays + ?Sized>(
    ports: Ports<S>,
    options: Options,
    metrics: DeadLetterMetrics,
    stop: CancellationToken,
) -> Result<(), DeadLetterError> {
    // New with each start, so that a lease of the process before is not taken for our own; and with each claim, so
    // that neither is one which we let run out.
    let process = ReplayId::new();
    let (mut carriers, mut claims) = (JoinSet::new(), 0u64);
    while !stop.is_cancelled() {
        claims += 1;
        let owner = format!("{process}/{claims}");
        let room = carriers.len() < options.concurrent_replays;
        let claimed = if room {
            claim(&ports, &options, &metrics, &owner).await
        } else {
            None
        };
        if let Some((replay, carrier)) = claimed {
            let (active, stop) = (metrics.replays_active.clone(), stop.clone());
            carriers.spawn(async move {
                active.inc();
                let done = carrier.carry_out(replay, &stop).await;
                active.dec();
                done
            });
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(options.poll) => {}
            Some(done) = carriers.join_next() => ended(done)?,
        }
    }
    while let Some(done) = carriers.join_next().await {
        ended(done)?;
    }
    Ok(())
}

async fn claim<S: DeadLetters + Replays + ?Sized>(
    ports: &Ports<S>,
    options: &Options,
    metrics: &DeadLetterMetrics,
    owner: &str,
) -> Option<(Replay, Carrier<S>)> {
    let now = ports.clock.now();
    let until = now.plus(options.lease);
    match ports.store.claim_replay(owner, now, until).await {
        Ok(replay) => replay.map(|replay| {
            let carrier = Carrier::new(
                ports.clone(),
                options.clone(),
                metrics.clone(),
                owner.to_owned(),
                until,
            );
            (replay, carrier)
        }),
        Err(error) => {
            tracing::warn!(%error, "the store cannot say which replays there are");
            metrics.store_failures.inc();
            None
        }
    }
}

fn ended(
    done: Result<Result<(), DeadLetterError>, tokio::task::JoinError>,
) -> Result<(), DeadLetterError> {
    done.unwrap_or_else(|died| Err(DeadLetterError::Died(died.to_string())))
}
