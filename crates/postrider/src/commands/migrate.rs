//! `postrider migrate`

use std::process::ExitCode;

use postrider_metrics::Registry as Metrics;
use postrider_store_sql::StoreMetrics;

use super::{Sources, serve};
use crate::config::{Config, ConfigError};
use crate::{config, options, out, telemetry};

/// Brings the schema up to date and ends. A server does so too when it starts; this is for a step of its own before it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.sources.flags())?;
    if config.store.url.is_sqlite() {
        let why = "store.url is no PostgreSQL database: a SQLite file belongs to the server, which brings its schema up to \
                   date when it starts";
        return Err(ConfigError::together(why.to_owned()).into());
    }
    telemetry::start(&config.logs)?;
    serve::runtime()?.block_on(migrate(&config))?;
    out::line("the store's schema is up to date")?;
    Ok(ExitCode::SUCCESS)
}

/// Whoever opens a store brings its schema up to date.
async fn migrate(config: &Config) -> anyhow::Result<()> {
    let metrics = StoreMetrics::register(&Metrics::new())?;
    let url = options::store_url(config);
    postrider_store_sql::open_with(&url, options::postgres(config), metrics).await?;
    Ok(())
}
