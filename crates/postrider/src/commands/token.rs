//! `postrider token`

mod kept;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use postrider_model::TokenId;

use self::kept::{Kept, New, Reach};
use super::{Sources, serve};
use crate::config::Config;
use crate::{config, data_dir, out, telemetry};

/// Ten years, in seconds.
const LONGEST_LIFETIME: u64 = 3650 * 86_400;

/// What is done about tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token, and print it: it cannot be shown again
    Create(Args),
    /// Print the token that the first start of a server with a data directory left there
    Show(Show),
    /// List the tokens: id, application (and its uid) or operator, whether it is good, when it was made, what it is for
    List(List),
    /// Take a token back: from now on it opens nothing
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    sources: Sources,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    reach: Reach,
    /// The token's id (tok_…), as `postrider token list` prints it
    id: TokenId,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    reach: Reach,
    /// What its bearer may do
    #[arg(long, value_enum)]
    scope: Scope,
    /// The application that it opens, by id or uid; with --scope application
    #[arg(long, value_name = "APP", required_if_eq("scope", "application"))]
    application: Option<String>,
    /// What it is for, so that others know it again
    #[arg(long, default_value = "made by postrider token create")]
    name: String,
    /// How long it is good for, such as 1h; without it, until it is revoked
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
}

/// Whole seconds, as the API takes them.
fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = config::duration(text).map_err(|error| error.to_string())?;
    let whole = lifetime.subsec_nanos() == 0;
    match lifetime.as_secs() {
        1..=LONGEST_LIFETIME if whole => Ok(lifetime),
        _ => Err("expected whole seconds, from 1s to 3650d".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Scope {
    /// Everything, in every application
    Operator,
    /// What lies within one application, its deletion excepted
    Application,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create(args)?,
        Command::Show(args) => show(args)?,
        Command::List(args) => {
            let config = configured(&args.sources)?;
            serve::runtime()?.block_on(async {
                let kept = Kept::open(&config, &args.reach).await?;
                let listed = kept.list().await;
                kept.close().await;
                for line in listed? {
                    out::line(line)?;
                }
                anyhow::Ok(())
            })?;
        }
        Command::Revoke(args) => {
            let config = configured(&args.sources)?;
            serve::runtime()?.block_on(async {
                let kept = Kept::open(&config, &args.reach).await?;
                let revoked = kept.revoke(args.id).await;
                kept.close().await;
                revoked
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(args: &Args) -> anyhow::Result<()> {
    if matches!(args.scope, Scope::Operator) && args.application.is_some() {
        bail!("--application goes with --scope application: an operator's token opens every one");
    }
    let config = configured(&args.sources)?;
    let made = serve::runtime()?.block_on(async {
        let kept = Kept::open(&config, &args.reach).await?;
        let new = New {
            name: &args.name,
            application: args.application.as_deref(),
            lifetime: args.expires,
        };
        let made = kept.create(&new).await;
        kept.close().await;
        made
    })?;
    Ok(out::line(made.expose())?)
}

fn configured(sources: &Sources) -> anyhow::Result<Config> {
    let config = config::load(&sources.flags())?;
    telemetry::start(&config.logs)?;
    Ok(config)
}

/// For images that have no shell to read the file with.
fn show(args: &Show) -> anyhow::Result<()> {
    let config = config::load(&args.sources.flags())?;
    let Some(token) = data_dir::read_token(&config.data)? else {
        bail!(
            "{} is not there: the first start with a SQLite store makes it, and with PostgreSQL `postrider token create`",
            data_dir::token_file(&config.data).display()
        );
    };
    Ok(out::line(token.expose())?)
}
