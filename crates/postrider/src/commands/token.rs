//! `postrider token`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use postrider_access::Token;
use postrider_http::application_ref;
use postrider_metrics::Registry as Metrics;
use postrider_model::{AppId, Clock, SystemClock, TokenId};
use postrider_store::{Store, TokenScope};
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
    /// List the tokens: id, application or operator, whether it is good, when it was made, what it is for
    List(Show),
    /// Take a token back: from now on it opens nothing
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    sources: Sources,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    sources: Sources,
    /// The token's id (tok_…), as `postrider token list` prints it
    id: TokenId,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// What its bearer may do
    #[arg(long, value_enum)]
    scope: Scope,
    /// The application that it opens, by id or uid; with --scope application
    #[arg(long, value_name = "APP", required_if_eq("scope", "application"))]
    application: Option<String>,
    /// What it is for, so that others know it again
    #[arg(long, default_value = "made by postrider token create")]
    name: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Scope {
    /// Everything, in every application
    Operator,
    /// What lies within one application, its deletion excepted
    Application,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let args = match command {
        Command::Create(args) => args,
        Command::Show(args) => return show(args),
        Command::List(args) => {
            let config = configured(&args.sources)?;
            serve::runtime()?.block_on(list(&config))?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Revoke(args) => {
            let config = configured(&args.sources)?;
            serve::runtime()?.block_on(revoke(&config, args.id))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if matches!(args.scope, Scope::Operator) && args.application.is_some() {
        bail!("--application goes with --scope application: an operator's token opens every one");
    }
    let config = configured(&args.sources)?;
    let made = serve::runtime()?.block_on(create(&config, args))?;
    out::line(made.expose())?;
    Ok(ExitCode::SUCCESS)
}

fn configured(sources: &Sources) -> anyhow::Result<Config> {
    let config = config::load(&sources.flags())?;
    telemetry::start(&config.logs)?;
    Ok(config)
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

async fn create(config: &Config, args: &Args) -> anyhow::Result<Token> {
    let store = open(config).await?;
    let scope = match &args.application {
        None => TokenScope::Operator,
        Some(given) => TokenScope::Application(application(store.as_ref(), given).await?),
    };
    let token = Token::generate();
    let record = token::record(&token, scope, &args.name, &SystemClock);
    let stored = store.insert_token(&record).await;
    store.close().await;
    stored.context("cannot store the token")?;
    Ok(token)
}

/// The application that an id or a uid names.
async fn application(store: &dyn Store, given: &str) -> anyhow::Result<AppId> {
    let found = match application_ref(given) {
        Some(by) => store.application(&by).await,
        None => Ok(None),
    };
    let found = found.context("cannot look the application up")?;
    let found = found.with_context(|| {
        format!(
            "--application: there is no application {given}; its id (app_…) or its uid is expected"
        )
    })?;
    Ok(found.id)
}

async fn open(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
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
    match opened {
        Err(OpenError::InUse { path, .. }) => bail!(
            "the server runs, and SQLite ({}) belongs to one process: use the token in {}, or stop the server, do this and \
             start it again",
            path.display(),
            data_dir::token_file(&config.data).display()
        ),
        opened => Ok(opened?),
    }
}

async fn list(config: &Config) -> anyhow::Result<()> {
    let store = open(config).await?;
    let tokens = token::all(store.as_ref()).await;
    store.close().await;
    for token in tokens? {
        let scope = match token.scope {
            TokenScope::Operator => "operator".to_owned(),
            TokenScope::Application(app) => app.to_string(),
        };
        let state = if token.revoked_at.is_some() {
            "revoked"
        } else {
            "good"
        };
        let (id, made, name) = (token.id, token.created_at, token.name);
        out::line(format_args!("{id}  {scope:30}  {state:7}  {made}  {name}"))?;
    }
    Ok(())
}

/// Takes a token back. Servers that run hear of it within two seconds.
async fn revoke(config: &Config, id: TokenId) -> anyhow::Result<()> {
    let store = open(config).await?;
    let revoked = async {
        let known = token::all(store.as_ref()).await?;
        let found = known.into_iter().find(|token| token.id == id);
        let mut token = found.with_context(|| {
            format!("there is no token {id}; `postrider token list` names those that there are")
        })?;
        token.revoked_at.get_or_insert(SystemClock.now());
        let replaced = store.replace_token(&token).await;
        replaced.context("cannot store that the token is revoked")
    };
    let revoked = revoked.await;
    store.close().await;
    revoked.map(drop)
}
