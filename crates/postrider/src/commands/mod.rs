//! The commands, one file each.

mod config;
mod demo;
mod doctor;
mod health;
mod listen;
mod metrics;
mod migrate;
mod rejected;
mod serve;
mod server;
mod token;
mod topics;
mod version;

use std::process::ExitCode;

use clap::Parser;

use crate::roles::Role;

/// Delivers events, signed, to the HTTP endpoints of your customers.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, about, propagate_version = true)]
pub(crate) enum Command {
    /// Run the server, every role or some of them, until SIGTERM
    Serve(serve::Args),
    /// Play one role: take events over HTTP
    Ingest(serve::One),
    /// Play one role: join events against who wants them
    Fanout(serve::One),
    /// Play one role: deliver
    Worker(serve::One),
    /// Play one role: keep dead letters, carry replays out
    Deadletter(serve::One),
    /// Play one role: write history
    Recorder(serve::One),
    /// Play one role: move waiting deliveries on
    Pump(serve::One),
    /// Play one role: answer the API
    Api(serve::One),
    /// Bring the schema of the PostgreSQL store up to date, before processes of a new version start
    Migrate(migrate::Args),
    /// The topics on Kafka
    #[command(subcommand)]
    Topics(topics::Command),
    /// Tokens of the API
    #[command(subcommand)]
    Token(token::Command),
    /// Say what is wrong with configuration, brokers, store, clock, disk or egress, and what to do; changes nothing
    Doctor(doctor::Args),
    /// Ask a running server how it is; exit code 1 if it is not well
    Health(health::Args),
    /// See it work: a server, receivers and some thousand events, in half a minute
    Demo(demo::Args),
    /// Receive webhooks and print what came: for development
    Listen(listen::Args),
    /// Print the effective configuration as TOML, every key documented, secrets hidden
    Config(config::Args),
    /// List every metric with its unit, labels and meaning, as Markdown
    Metrics,
    /// List what could not be taken as an event, or have it judged again
    Rejected(rejected::Args),
    /// Print the version
    Version,
}

impl Command {
    /// Runs it to its end.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve(args) => serve::run(&args),
            Self::Ingest(args) => args.run(Role::Ingest),
            Self::Fanout(args) => args.run(Role::Fanout),
            Self::Worker(args) => args.run(Role::Worker),
            Self::Deadletter(args) => args.run(Role::Deadletter),
            Self::Recorder(args) => args.run(Role::Recorder),
            Self::Pump(args) => args.run(Role::Pump),
            Self::Api(args) => args.run(Role::Api),
            Self::Migrate(args) => migrate::run(&args),
            Self::Topics(command) => topics::run(&command),
            Self::Token(command) => token::run(&command),
            Self::Doctor(args) => doctor::run(&args),
            Self::Health(args) => health::run(&args),
            Self::Demo(args) => demo::run(&args),
            Self::Listen(args) => listen::run(args),
            Self::Config(args) => config::run(&args),
            Self::Metrics => metrics::run(),
            Self::Rejected(args) => rejected::run(&args),
            Self::Version => version::run(),
        }
    }
}

/// The flags that say where the configuration comes from.
#[derive(Debug, clap::Args)]
struct Sources {
    /// A TOML file of configuration; `postrider config` prints one to begin with
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// The data directory; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where to listen; port 0 asks the system for one
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
}

impl Sources {
    fn flags(&self) -> crate::config::Flags {
        crate::config::Flags {
            config: self.config.clone(),
            data: self.data.clone(),
            listen: self.listen.clone(),
        }
    }
}
