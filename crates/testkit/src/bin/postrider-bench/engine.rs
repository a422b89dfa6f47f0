//! What the platform stands on: the embedded pair in one process, or Kafka and PostgreSQL with its roles apart.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use postrider_testkit::{Broker, Jit, Postgres, cpu_seconds, cpu_seconds_of_family, sql};
use tempfile::TempDir;

use crate::Bench;

/// The two pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// The embedded log and SQLite: one process.
    Embedded,
    /// One Kafka broker and one PostgreSQL server, with the platform's roles as processes.
    Kafka,
}

/// Partitions of each topic: a worker each in the row that counts workers, and a few more.
const PARTITIONS: u32 = 16;

/// A broker and a database server for the whole run. They end with it.
pub(crate) struct Servers {
    broker: Broker,
    postgres: Postgres,
    /// Topic prefixes and databases so far.
    made: AtomicU32,
    _directory: TempDir,
}

/// CPU that the servers have used, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServersCpu {
    pub(crate) broker: f64,
    pub(crate) database: f64,
}

/// Topics and a database of a platform's own, and what it is told of them.
pub(crate) struct Ground {
    pub(crate) servers: Arc<Servers>,
    /// Keys without their prefix, and values.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// An operator's.
    pub(crate) token: String,
}

impl Servers {
    /// Starts both. The broker compiles as it does in production, and has these properties.
    pub(crate) async fn start(out: &std::path::Path, properties: &str) -> Result<Self> {
        let directory = TempDir::with_prefix_in("broker-", out)?;
        Ok(Self {
            broker: Broker::start_with(directory.path(), Jit::Full, properties).await?,
            postgres: Postgres::start(&["max_connections=200"]).await?,
            made: AtomicU32::new(0),
            _directory: directory,
        })
    }

    /// `HOST:PORT` of the broker.
    pub(crate) fn broker(&self) -> String {
        self.broker.address()
    }

    pub(crate) fn cpu(&self) -> Result<ServersCpu> {
        Ok(ServersCpu {
            broker: cpu_seconds(self.broker.pid()?)?,
            database: cpu_seconds_of_family(self.postgres.pid()?)?,
        })
    }
}

impl Ground {
    /// New topics, a new database, and a token for it.
    pub(crate) async fn new(bench: &Bench, servers: &Arc<Servers>) -> Result<Self> {
        let name = format!("bench_{}", servers.made.fetch_add(1, Ordering::Relaxed));
        sql(servers.postgres.url(), &format!("CREATE DATABASE {name}")).await?;
        let url = servers.postgres.url();
        let (server, _) = url.rsplit_once('/').context("a strange URL")?;
        let settings = vec![
            ("LOG__KIND", "kafka".to_owned()),
            ("LOG__KAFKA__BROKERS", servers.broker()),
            ("LOG__KAFKA__TOPIC_PREFIX", format!("{name}.")),
            ("LOG__KAFKA__PARTITIONS", PARTITIONS.to_string()),
            ("LOG__KAFKA__REPLICATION", "1".to_owned()),
            ("LOG__KAFKA__MIN_INSYNC_REPLICAS", "1".to_owned()),
            ("STORE__URL", format!("{server}/{name}")),
        ];
        let mut ground = Self {
            servers: Arc::clone(servers),
            settings,
            token: String::new(),
        };
        ground.command(bench, &["topics", "apply"])?;
        ground.token = ground.command(bench, &["token", "create", "--scope", "operator"])?;
        Ok(ground)
    }

    /// Runs a command of the platform to its end; what it printed.
    fn command(&self, bench: &Bench, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&bench.server);
        command.args(arguments);
        for (key, value) in &self.settings {
            command.env(format!("POSTRIDER__{key}"), value);
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?} failed: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}
