//! `postrider serve` as a process: started, killed with -9, started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::config;

/// A start takes well under a second; a busy machine may need longer.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

/// Endpoints on this machine, a schedule that fits into a demonstration, no limits on the eye's patience.
const CONFIGURATION: &[(&str, &str)] = &[
    ("POSTRIDER__EGRESS__ALLOW", "127.0.0.0/8"),
    ("POSTRIDER__EGRESS__REQUIRE_HTTPS", "false"),
    ("POSTRIDER__DELIVERY__SCHEDULE", "0s,1s,1s,1s"),
    ("POSTRIDER__DELIVERY__TIMEOUT", "5s"),
];

/// A running server; killed when dropped.
pub(super) struct Server {
    dir: PathBuf,
    child: Child,
    url: String,
    started_in: Duration,
}

impl Server {
    /// The first start, on a port that the system chooses.
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let began = Instant::now();
        let (child, url) = launch(dir, "127.0.0.1:0").await?;
        Ok(Self {
            dir: dir.to_owned(),
            child,
            url,
            started_in: began.elapsed(),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The token that the first start left in the data directory.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        let file = self.dir.join("data/operator.token");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Kills it with -9 and starts it again on the same address. Returns how long nobody answered.
    pub(super) async fn kill_and_restart(&mut self) -> anyhow::Result<Duration> {
        let killed_at = Instant::now();
        self.child.kill().await.context("cannot kill the server")?;
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.child, self.url) = launch(&self.dir, &address).await?;
        Ok(killed_at.elapsed())
    }

    /// Ends it as an operator would. Returns what it logged.
    pub(super) async fn stop(&mut self) -> String {
        if let Some(id) = self.child.id() {
            // The shell's own kill: this crate has no unsafe code to send a signal with.
            let asked = Command::new("kill").arg(id.to_string()).status().await;
            let ended = tokio::time::timeout(STOP, self.child.wait()).await;
            if asked.is_err() || ended.is_err() {
                // It ends when it is dropped.
                let _ = self.child.start_kill();
            }
        }
        std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }
}

async fn launch(dir: &Path, address: &str) -> anyhow::Result<(Child, String)> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("server.log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    // What is set for the reader's own server is not for this one.
    for name in config::names_like_ours() {
        command.env_remove(name);
    }
    command
        .arg("serve")
        .arg("--data")
        .arg(dir.join("data"))
        .args(["--listen", address])
        .envs(CONFIGURATION.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true);
    let mut child = command.spawn().context("cannot start the server")?;
    let stdout = child.stdout.take().context("the server has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(url) = line.strip_prefix("ready ") {
                return Ok(url.to_owned());
            }
        }
        let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
        bail!("the server ended instead of starting; it said:\n{log}")
    };
    let url = tokio::time::timeout(START, ready)
        .await
        .context("the server did not start in time")??;
    Ok((child, url))
}
