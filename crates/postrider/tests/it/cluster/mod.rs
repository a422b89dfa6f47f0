//! Past one machine: every role a process of its own, on Kafka brokers and a PostgreSQL server, and real faults: what is
//! killed, stopped and cut off here are processes and connections.

mod attempts;
mod brokers;
mod crowd;
pub(crate) mod fail_points;
mod handover;
mod killing;
mod lags;
mod limits;
mod losses;
mod owners;
mod panels;
mod poison;
mod process;
mod releases;
mod replicas;
mod roles;
mod rolling;
mod scaling;
mod service;
mod sessions;
mod sizes;
mod snapshot;
mod stale;
mod store_away;
mod takeover;
mod young;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postrider_testkit::{
    Api, Launch, LossChecker, Receiver, Recording, Server, Target, eventually, kafka,
    shared_postgres, sql,
};
use tempfile::TempDir;

use crate::world::Place;
use losses::{Loss, Receiving};
use process::Process;

/// Ends a test that waits in vain. Takeovers wait for sessions to end, which are long over on a quiet machine; on a
/// starved one brokers answer late, and everything that depends on them begins again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How many of each process a failing test shows.
const WARNINGS: usize = 60;

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

/// What a cluster stands on.
pub(crate) struct Basis {
    /// `HOST:PORT,…`.
    brokers: String,
    /// A PostgreSQL server, by its `postgres` database.
    postgres: String,
    /// Copies of each partition; all but one of them have to be in sync.
    replication: u16,
}

impl Basis {
    /// The broker and the server that all tests share.
    pub(crate) fn shared() -> Self {
        Self {
            brokers: kafka().unwrap(),
            postgres: shared_postgres().unwrap(),
            replication: 1,
        }
    }
}

/// Topics and a database that are a test's own, the processes on them by name, and a receiver. Everything ends with it.
pub(crate) struct Cluster {
    // Processes end before their folders do.
    processes: BTreeMap<&'static str, Process>,
    /// What processes logged that are not wanted again.
    forgotten: Vec<(&'static str, String)>,
    pub(crate) receiver: Receiver,
    token: String,
    prefix: String,
    /// What processes are started from, and commands run by, from now on.
    binary: PathBuf,
    settings: Vec<(&'static str, String)>,
    directory: TempDir,
    _place: Place,
}

impl Cluster {
    /// Topics that do not exist yet, and an empty database.
    pub(crate) async fn on(basis: &Basis) -> Self {
        let place = Place::shared().await;
        let directory = TempDir::with_prefix("postrider-cluster-").unwrap();
        // The folder's name is nobody else's.
        let name = directory.path().file_name().unwrap().to_str().unwrap();
        let name = name
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        sql(&basis.postgres, &format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let (server, _) = basis.postgres.rsplit_once('/').unwrap();
        let in_sync = basis.replication.saturating_sub(1).max(1);
        let settings = vec![
            ("LOG__KIND", "kafka".to_owned()),
            ("LOG__KAFKA__BROKERS", basis.brokers.clone()),
            ("LOG__KAFKA__TOPIC_PREFIX", format!("{name}.")),
            ("LOG__KAFKA__PARTITIONS", "2".to_owned()),
            ("LOG__KAFKA__REPLICATION", basis.replication.to_string()),
            ("LOG__KAFKA__MIN_INSYNC_REPLICAS", in_sync.to_string()),
            ("STORE__URL", format!("{server}/{name}")),
            ("STORE__MAX_CONNECTIONS", "4".to_owned()),
        ];
        Self {
            processes: BTreeMap::new(),
            forgotten: Vec::new(),
            receiver: Receiver::recording(Recording::Arrivals).unwrap(),
            token: String::new(),
            prefix: format!("{name}."),
            binary: BINARY.into(),
            settings,
            directory,
            _place: place,
        }
    }

    /// Processes that are started, and commands that are run, from now on have this setting.
    pub(crate) fn set(&mut self, key: &'static str, value: impl ToString) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value.to_string()));
    }

    /// Processes that are started, and commands that are run, from now on are of this build.
    fn by(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// A setting.
    pub(crate) fn setting(&self, key: &str) -> &str {
        let found = self.settings.iter().find(|(known, _)| *known == key);
        found.map_or("", |(_, value)| value)
    }

    /// Creates the topics, and the token that processes are given.
    pub(crate) async fn lay_out(&mut self) {
        let (applied, told) = self.command(&["topics", "apply"]).await;
        assert!(applied, "{told}");
        let (made, token) = self
            .command(&["token", "create", "--scope", "operator"])
            .await;
        assert!(made && token.starts_with("pr_"), "{token}");
        self.token = token;
    }

    /// Runs a command that ends by itself; returns whether it succeeded, and what it printed.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = tokio::process::Command::from(self.bare_command());
        let output = command.args(arguments).output().await.unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap().trim().to_owned();
        (output.status.success(), printed)
    }

    /// The program with this cluster's settings, and no arguments so far.
    fn bare_command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        let settings = self.settings.iter();
        command.envs(settings.map(|(key, value)| (format!("POSTRIDER__{key}"), value)));
        command
    }

    /// Starts one process for all that is neither a worker nor named otherwise by the test.
    pub(crate) async fn play_the_rest(&mut self) {
        self.play("rest", "ingest,fanout,pump,deadletter,recorder,api")
            .await;
    }

    /// Starts a process of this name that plays these roles.
    pub(crate) async fn play(&mut self, name: &'static str, roles: &str) {
        self.play_with(name, roles, &[]).await;
    }

    /// Likewise, with settings that are its own.
    pub(crate) async fn play_with(
        &mut self,
        name: &'static str,
        roles: &str,
        own: &[(&str, &str)],
    ) {
        let data = self.directory.path().join(name);
        std::fs::create_dir(&data).unwrap();
        // Where a process on its own would have left the token that clients of it are given.
        std::fs::write(data.join("operator.token"), &self.token).unwrap();
        let mut launch = Launch::new(&self.binary, data)
            .argument("--roles")
            .argument(roles);
        for (key, value) in &self.settings {
            launch = launch.set(key, value);
        }
        for (key, value) in own {
            launch = launch.set(key, value);
        }
        let process = Process::start(launch).await;
        self.processes.insert(name, process);
    }

    pub(crate) fn find(&self, name: &str) -> &Process {
        &self.processes[name]
    }

    /// Ends a process that is not wanted again, by SIGTERM.
    pub(crate) async fn dismiss(&mut self, name: &str) {
        let Some((name, mut process)) = self.processes.remove_entry(name) else {
            return;
        };
        let data = self.directory.path().join(name);
        process.terminate().await;
        let log = std::fs::read_to_string(data.with_extension("server.log"));
        self.forgotten.push((name, log.unwrap()));
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).unwrap()
    }

    /// A process that runs.
    pub(crate) fn server(&self, name: &str) -> &Server {
        self.processes[name].server()
    }

    /// A client of a process that runs.
    pub(crate) fn api(&self, name: &str) -> Api {
        self.server(name).api().unwrap()
    }

    /// Where a process that takes events does so.
    pub(crate) fn target(&self, name: &str) -> Target {
        Target {
            address: self.server(name).address().unwrap(),
            token: self.token.clone(),
        }
    }

    /// Waits until every process says that it is ready: brokers may answer late about topics that they have just been
    /// given.
    pub(crate) async fn ready(&self) {
        for process in self.processes.values() {
            process.ready().await;
        }
    }

    /// Every time that a process lost partitions, by its name, also one that was replaced or is not wanted any more.
    pub(crate) fn losses(&self) -> Vec<(&'static str, Loss)> {
        let of = |(name, log): (_, String)| {
            let losses = Loss::all_in(&log).into_iter();
            losses.map(move |loss| (name, loss))
        };
        self.logs().flat_map(of).collect()
    }

    /// What processes said, by their names, also those that were replaced or are not wanted any more.
    fn logs(&self) -> impl Iterator<Item = (&'static str, String)> {
        let running = self.processes.iter();
        let running = running.map(|(name, process)| (*name, process.server().log()));
        running.chain(self.forgotten.iter().cloned())
    }

    /// For a failing test: the verdict of `checker`, and what processes say of the first deliveries that came again without
    /// excuse, of what they were given and of what they lost.
    pub(crate) async fn explain(&self, checker: &LossChecker, all: &[Receiving]) {
        let come = eventually("nothing is missing", PATIENCE, async || {
            (checker.missing(&self.receiver.arrivals()) == 0).then_some(())
        });
        if come.await.is_err() {
            return;
        }
        let arrivals = self.receiver.arrivals();
        let verdict = checker.judge(&arrivals);
        if verdict.unexcused.is_empty() {
            return;
        }
        println!("{verdict}\n{}", checker.history(&verdict, &arrivals));
        let endpoint = |path: &str| all.iter().find(|one| one.0 == path).map(|one| one.1);
        let again = verdict.unexcused.iter().take(3);
        let again: Vec<_> = again
            .filter_map(|(event, path)| Some((event, endpoint(path)?.to_string())))
            .collect();
        for (name, log) in self.logs() {
            let tells = |line: &&str| {
                let moved = line.contains("group=worker") && line.contains("heard of");
                let is_of = |(event, endpoint): &(&String, String)| {
                    line.contains(*event) && line.contains(endpoint)
                };
                moved || line.contains("partitions were lost") || again.iter().any(is_of)
            };
            for line in log.lines().filter(tells) {
                println!("{name}: {line}");
            }
        }
    }

    /// Waits until every reader has finished all that there is in the log: nothing comes again after that. Each process tells
    /// of what it reads.
    pub(crate) async fn idle(&self) {
        let mut left = String::new();
        let idle = eventually("all is finished", PATIENCE, async || {
            for (name, process) in &self.processes {
                let metrics = process.server().api().ok()?.metrics().await.ok()?;
                let mut lags = metrics
                    .lines()
                    .filter(|line| line.starts_with("postrider_log_lag_records{"));
                if let Some(lag) = lags.find(|line| !line.ends_with(" 0")) {
                    left = format!("{name}: {lag}");
                    return None;
                }
            }
            Some(())
        });
        if let Err(error) = idle.await {
            self.complain().await;
            panic!("{error}: {left}");
        }
    }

    /// For a failing test: what processes measure now, and what they last warned of.
    async fn complain(&self) {
        for (name, process) in &self.processes {
            let metrics = match process.server().api() {
                Ok(api) => api.metrics().await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            let lines = metrics.lines();
            let told = lines.filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
            for line in told.filter(|line| !line.contains("_bucket{")) {
                println!("{name}: {line}");
            }
            let log = process.server().log();
            let bad = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
            let warned: Vec<_> = log.lines().filter(bad).collect();
            for line in warned.iter().rev().take(WARNINGS).rev() {
                println!("{name}: {line}");
            }
        }
    }

    /// Ends every process by SIGTERM.
    pub(crate) async fn terminate(&mut self) {
        for process in self.processes.values_mut() {
            process.terminate().await;
        }
    }
}
