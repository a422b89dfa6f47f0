//! The benchmark's other processes, which are this program again.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use postrider_testkit::{Load, Pace, Quantiles, Receiver, Recording, Stats, Target, cpu_seconds};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The receiver, in a process of its own.
pub(crate) struct ReceiverProcess {
    child: Child,
    base: String,
    client: reqwest::Client,
}

impl ReceiverProcess {
    pub(crate) fn start() -> Result<Self> {
        let mut child = itself()?
            .arg("receiver")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut base = String::new();
        BufReader::new(stdout).read_line(&mut base)?;
        Ok(Self {
            child,
            base: base.trim().to_owned(),
            client: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// What came to the paths that begin with `prefix`.
    pub(crate) async fn stats(&self, prefix: &str) -> Result<Stats> {
        let answer = self.client.get(self.url(&format!("/_stats{prefix}")));
        Ok(answer.send().await?.json().await?)
    }

    /// Forgets what came so far.
    pub(crate) async fn clear(&self) -> Result<()> {
        self.client.get(self.url("/_clear")).send().await?;
        Ok(())
    }
}

impl Drop for ReceiverProcess {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The receiver's process: serves until whoever started it is gone.
#[expect(clippy::print_stdout, reason = "tells its parent where it listens")]
pub(crate) fn receive() -> Result<()> {
    let receiver = Receiver::recording(Recording::Delays)?;
    println!("http://{}", receiver.address());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// What the load generator is to send.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArguments {
    /// The server.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The token to show.
    #[arg(long)]
    pub(crate) token: String,
    /// The application's id.
    #[arg(long)]
    pub(crate) app: String,
    /// Types `bench.0` … are taken in turn, so many.
    #[arg(long)]
    pub(crate) types: u64,
    /// Events a second; 0 for as fast as they are answered.
    #[arg(long)]
    pub(crate) rate: f64,
    /// How many events.
    #[arg(long)]
    pub(crate) count: u64,
}

/// What a load came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
    pub(crate) last_failure: String,
    /// From the moment that each event was meant to be sent until the server's answer.
    pub(crate) answers: Quantiles,
    /// What the load generator itself used.
    pub(crate) cpu_seconds: f64,
    pub(crate) seconds: f64,
}

/// Connections on which events are sent.
const CONNECTIONS: usize = 64;

/// The load generator's process.
#[expect(clippy::print_stdout, reason = "tells its parent what came of it")]
pub(crate) async fn load(arguments: LoadArguments) -> Result<()> {
    let began = std::time::Instant::now();
    let load = Load {
        event_types: (0..arguments.types).map(|n| format!("bench.{n}")).collect(),
        pace: match arguments.rate {
            0.0 => Pace::AsFastAsAnswered,
            rate => Pace::Rate(rate),
        },
        connections: CONNECTIONS,
        count: Some(arguments.count),
        ..Load::of(&arguments.app, "")
    };
    let target = Target {
        address: arguments.address,
        token: arguments.token,
    };
    let report = load.run_against(target).await?;
    let loaded = Loaded {
        accepted: report.accepted.len() as u64,
        failed: report.failed,
        last_failure: report.last_failure,
        answers: report.answers,
        cpu_seconds: cpu_seconds(std::process::id())?,
        seconds: began.elapsed().as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&loaded)?);
    Ok(())
}

/// Runs the load generator to its end.
pub(crate) async fn run_load(arguments: &LoadArguments) -> Result<Loaded> {
    let LoadArguments {
        address,
        token,
        app,
        types,
        rate,
        count,
    } = arguments;
    let loaded: Loaded = run_child(&[
        "load",
        &format!("--address={address}"),
        &format!("--token={token}"),
        &format!("--app={app}"),
        &format!("--types={types}"),
        &format!("--rate={rate}"),
        &format!("--count={count}"),
    ])
    .await?;
    ensure!(
        loaded.failed == 0,
        "{} events were refused: {}",
        loaded.failed,
        loaded.last_failure
    );
    Ok(loaded)
}

/// Runs one of this program's parts to its end and reads what it printed.
pub(crate) async fn run_child<T: DeserializeOwned>(arguments: &[&str]) -> Result<T> {
    let mut command = tokio::process::Command::from(itself()?);
    let output = command
        .args(arguments)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    let part = arguments.first().copied().unwrap_or_default();
    ensure!(
        output.status.success(),
        "{part} ended with {}",
        output.status
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what {part} printed"))
}

fn itself() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}
