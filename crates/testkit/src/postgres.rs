//! A PostgreSQL server as a process: started, stopped, killed, started again on the same port and data.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::signal;
use crate::{eventually, setting};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres.sh");

/// How long a process that was killed may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// The URL of the server that the test run shares: its `postgres` database, as superuser. Each test makes a database of
/// its own in it.
///
/// # Errors
/// If nobody started one; the message says how to.
pub fn shared_postgres() -> Result<String> {
    let url = setting("POSTRIDER_TEST_POSTGRES", String::new());
    if url.is_empty() {
        bail!(
            "no PostgreSQL server: run `make test`, or start one with \
             `crates/testkit/scripts/postgres.sh start DIR` and set POSTRIDER_TEST_POSTGRES to the URL that it prints"
        );
    }
    Ok(url)
}

/// A PostgreSQL server that is the test's own, to be stopped and killed. It ends with its value, and its data too.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    url: String,
}

impl Postgres {
    /// A new one, which takes connections. `settings` are the server's, for instance `max_connections=5`; without any it
    /// is as it is by default.
    ///
    /// # Errors
    /// If it cannot be started; the message says why, or how to get a server.
    pub async fn start(settings: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let url = start(dir.path(), settings).await?;
        Ok(Self { dir, url })
    }

    /// Where it is: its `postgres` database, as superuser. The same after each restart.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it in order: its clients are told.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn stop(&self) -> Result<()> {
        script(&["stop".as_ref(), self.dir.path().as_os_str()]).await?;
        Ok(())
    }

    /// Kills it where it stands. Its clients see their connections end.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&self) -> Result<()> {
        let pid = self.pid()?;
        signal(pid, Signal::KILL)?;
        let process = PathBuf::from(format!("/proc/{pid}"));
        let gone = async || (!process.exists()).then_some(());
        eventually("the server is gone", GONE, gone).await
    }

    /// Starts it again after a stop or a kill, on the same port and data.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn restart(&self, settings: &[&str]) -> Result<()> {
        let url = start(self.dir.path(), settings).await?;
        ensure!(url == self.url, "{url} is not {}", self.url);
        Ok(())
    }

    /// The process that a signal goes to.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> Result<u32> {
        let path = self.dir.path().join("data/postmaster.pid");
        let text = std::fs::read_to_string(path).context("the server does not run")?;
        let first = text.lines().next().unwrap_or_default();
        Ok(first.trim().parse()?)
    }

    /// Carries `statement` out in its `postgres` database; what it returns as text, a line a row.
    ///
    /// # Errors
    /// If the server says no.
    pub async fn sql(&self, statement: &str) -> Result<String> {
        sql(&self.url, statement).await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = Command::new(SCRIPT);
        stop.arg("stop").arg(self.dir.path());
        // Its folder goes with it, whatever it says.
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Carries `statement` out in the database at `url`; what it returns as text, a line a row.
///
/// # Errors
/// If the server says no.
pub async fn sql(url: &str, statement: &str) -> Result<String> {
    script(&["sql".as_ref(), url.as_ref(), statement.as_ref()]).await
}

async fn start(dir: &Path, settings: &[&str]) -> Result<String> {
    let mut arguments = vec!["start".as_ref(), dir.as_os_str()];
    arguments.extend(settings.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    script(&arguments).await
}

async fn script(arguments: &[&std::ffi::OsStr]) -> Result<String> {
    let mut script = tokio::process::Command::new(SCRIPT);
    let output = script.args(arguments).output().await.context(SCRIPT)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("postgres.sh {arguments:?} failed: {said}");
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
