//! The commands, one file each.

mod config;
mod demo;
mod listen;
mod rejected;
mod serve;
mod version;

use std::process::ExitCode;

use clap::Parser;

/// Delivers events, signed, to the HTTP endpoints of your customers.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, about, propagate_version = true)]
pub(crate) enum Command {
    /// Run the server, until SIGTERM
    Serve(serve::Args),
    /// See it work: a server, receivers and some thousand events, in half a minute
    Demo(demo::Args),
    /// Receive webhooks and print what came: for development
    Listen(listen::Args),
    /// Print the effective configuration as TOML, every key documented, secrets hidden
    Config(config::Args),
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
            Self::Demo(args) => demo::run(&args),
            Self::Listen(args) => listen::run(args),
            Self::Config(args) => config::run(&args),
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
