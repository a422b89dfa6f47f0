//! `postrider demo`

use std::process::ExitCode;

use crate::demo;
use crate::signals::Signals;

/// Shows Postrider on this machine in half a minute: starts a server and receivers in a temporary directory, publishes,
/// kills, retries, replays, and counts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Events of the first scene, 100 to 1000000; the second, in which the server is killed, publishes half as many
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = events)]
    events: usize,
    /// Connections of the publisher, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = connections)]
    connections: usize,
}

fn events(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(events @ 100..=1_000_000) => Ok(events),
        _ => Err(
            "expected a number from 100 to 1000000: with fewer, the kill in the middle would hit nothing".to_owned(),
        ),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(connections @ 1..=1000) => Ok(connections),
        _ => Err("expected a number from 1 to 1000".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = demo::Options {
        events: args.events,
        connections: args.connections,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        tokio::select! {
            kept = demo::run(options) => Ok(ExitCode::from(u8::from(!kept?))),
            // Dropping the demonstration kills its server and removes its directory.
            signal = signals.stop() => anyhow::bail!("{signal}: the demonstration was cut off"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demonstration_of_too_few_events_is_refused_with_the_reason() {
        assert_eq!((events("100"), connections("1")), (Ok(100), Ok(1)));
        for few in ["1", "99", "0", "-5", "many", "1000001"] {
            let error = events(few).unwrap_err();
            assert!(error.contains("from 100 to 1000000: with fewer"), "{error}");
        }
        assert!(connections("1001").unwrap_err().contains("from 1 to 1000"));
    }
}
