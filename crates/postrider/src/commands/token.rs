//! `postrider token`

use std::process::ExitCode;

use anyhow::{Context, bail};
use postrider_access::Token;
use postrider_metrics::Registry as Metrics;
use postrider_model::SystemClock;
use postrider_store_sql::{OpenError, StoreMetrics};

use super::{Sources, serve};
use crate::config::{Config, StoreUrl};
use crate::{config, data_dir, options, out, telemetry, token};

/// What is done about tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token, and print it: it cannot be shown again
    Create(Args),
    /// Print the token that the first start of a server with a data directory left there
    Show(Show),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    sources: Sources,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// What its bearer may do
    #[arg(long, value_enum)]
    scope: Scope,
    /// What it is for, so that others know it again
    #[arg(long, default_value = "made by postrider token create")]
    name: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Scope {
    /// Everything, in every application
    Operator,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let args = match command {
        Command::Create(args) => args,
        Command::Show(args) => return show(args),
    };
    let config = config::load(&args.sources.flags())?;
    telemetry::start(&config.logs)?;
    let Scope::Operator = args.scope;
    let made = serve::runtime()?.block_on(create(&config, &args.name))?;
    out::line(made.expose())?;
    Ok(ExitCode::SUCCESS)
}

/// For images that have no shell to read the file with.
fn show(args: &Show) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.sources.flags())?;
    let Some(token) = data_dir::read_token(&config.data)? else {
        bail!(
            "{} is not there: the first start with a SQLite store makes it, and with PostgreSQL `postrider token create`",
            data_dir::token_file(&config.data).display()
        );
    };
    out::line(token.expose())?;
    Ok(ExitCode::SUCCESS)
}

async fn create(config: &Config, name: &str) -> anyhow::Result<Token> {
    let file = match &config.store.url {
        StoreUrl::InDataDirectory => Some(config.data.join("store.db")),
        StoreUrl::Sqlite(path) => Some(path.clone()),
        StoreUrl::Postgres(_) => None,
    };
    if let Some(file) = file.filter(|file| !file.exists()) {
        bail!(
            "there is no store at {} yet: the first start of the server makes it, and a token in {}",
            file.display(),
            data_dir::token_file(&config.data).display()
        );
    }
    let metrics = StoreMetrics::register(&Metrics::new())?;
    let url = options::store_url(config);
    let opened = postrider_store_sql::open_with(&url, options::postgres(config), metrics).await;
    let store = match opened {
        Err(OpenError::InUse { path, .. }) => bail!(
            "the server runs, and SQLite ({}) belongs to one process: use the token in {}, or stop the server, make the \
             token and start it again",
            path.display(),
            data_dir::token_file(&config.data).display()
        ),
        opened => opened?,
    };
    let token = Token::generate();
    let record = token::record(&token, name, &SystemClock);
    store
        .insert_token(&record)
        .await
        .context("cannot store the token")?;
    Ok(token)
}
