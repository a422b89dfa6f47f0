//! `postrider topics`

use std::process::ExitCode;

use postrider_log_kafka::{LogMetrics, Options, check_brokers, check_topics, is_bearable};
use postrider_metrics::Registry as Metrics;

use super::{Sources, serve};
use crate::config::{ConfigError, LogKind};
use crate::{config, kafka, out, telemetry};

/// What is done about the topics.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Compare the topics and the brokers' settings with what is needed; exit code 1 if something differs
    Check(Args),
    /// Create the topics that are missing; what exists is compared and not changed; exit code 1 if something differs with
    /// which the services do not run, or not as safely
    Apply(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let (args, apply) = match command {
        Command::Check(args) => (args, false),
        Command::Apply(args) => (args, true),
    };
    let config = config::load(&args.sources.flags())?;
    if config.log.kind != LogKind::Kafka {
        let why = "log.kind is embedded, which makes its topics itself: set it to kafka, and log.kafka.brokers";
        return Err(ConfigError::together(why.to_owned()).into());
    }
    telemetry::start(&config.logs)?;
    let options = kafka::options(&config, LogMetrics::register(&Metrics::new())?);
    serve::runtime()?.block_on(settle(&options, apply))
}

async fn settle(options: &Options, apply: bool) -> anyhow::Result<ExitCode> {
    if apply {
        for name in kafka::create_topics(options).await? {
            out::line(format_args!("created {name}"))?;
        }
    }
    let mut faults = check_topics(options).await?;
    faults.extend(check_brokers(options).await?);
    for fault in &faults {
        out::line(fault)?;
    }
    if faults.is_empty() {
        out::line(format_args!(
            "{} topics and the brokers' settings are as they must be",
            options.topics.len()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    // A roll-out does not end by what only takes longer.
    Ok(
        match apply && faults.iter().all(|fault| is_bearable(fault)) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
    )
}
