//! `postrider serve` as a process: started, watched, killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use crate::process::signal;
use crate::{Api, eventually};

/// A start lasts as long as a debug build on a busy machine needs to recover its log.
const START: Duration = Duration::from_secs(60);

/// How much of its log a failing test shows, in lines.
const SHOWN: usize = 60;

/// How to start a server. Can be used again, for instance after a kill.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    data: PathBuf,
    listen: String,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    unread: bool,
}

impl Launch {
    /// Of this binary, with this data directory, on a port that the system chooses; it may call 127.0.0.0/8
    /// over plain http.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        let launch = Self {
            binary: binary.into(),
            data: data.into(),
            listen: "127.0.0.1:0".to_owned(),
            env: Vec::new(),
            arguments: Vec::new(),
            unread: false,
        };
        launch
            .set("EGRESS__ALLOW", "127.0.0.0/8")
            .set("EGRESS__REQUIRE_HTTPS", "false")
    }

    /// With this configuration, for instance `DELIVERY__TIMEOUT` and `2s`.
    #[must_use]
    pub fn set(self, key: &str, value: impl ToString) -> Self {
        self.variable(&format!("POSTRIDER__{key}"), value)
    }

    /// With this variable of the environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Without a variable that it was given.
    #[must_use]
    pub fn without_variable(mut self, name: &str) -> Self {
        self.env.retain(|(given, _)| given != name);
        self
    }

    /// Without what was said of this so far.
    #[must_use]
    pub fn unset(mut self, key: &str) -> Self {
        let name = format!("POSTRIDER__{key}");
        self.env.retain(|(known, _)| *known != name);
        self
    }

    /// Of another binary, for instance of an older release.
    #[must_use]
    pub fn binary(mut self, binary: impl Into<PathBuf>) -> Self {
        self.binary = binary.into();
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With a pipe for what it logs that is full, and that nobody ever reads.
    #[must_use]
    pub fn with_unread_log(mut self) -> Self {
        self.unread = true;
        self
    }

    /// On this address.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address.to_string();
        self
    }

    /// With another data directory.
    #[must_use]
    pub fn data_in(mut self, data: impl Into<PathBuf>) -> Self {
        self.data = data.into();
        self
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Starts it and waits until it says `ready`.
    ///
    /// # Errors
    /// If it ends, or says nothing in time; the message holds what it logged.
    pub async fn start(&self) -> Result<Server> {
        let mut server = self.spawn()?;
        let started = eventually("the server is ready", START, async || {
            if let Ok(line) = server.lines.try_recv() {
                return Some(Ok(line));
            }
            let ended = server.child.try_wait().ok().flatten()?;
            Some(Err(ended))
        });
        let line = match started.await.with_context(|| server.log_tail())? {
            Ok(line) => line,
            Err(status) => bail!("the server ended with {status}\n{}", server.log_tail()),
        };
        server.url = line
            .strip_prefix("ready ")
            .with_context(|| format!("expected \"ready URL\", came {line:?}"))?
            .trim()
            .to_owned();
        let token = self.data.join("operator.token");
        server.token = fs::read_to_string(&token)
            .with_context(|| format!("reading {}", token.display()))?
            .trim()
            .to_owned();
        Ok(server)
    }

    /// Starts it where it is expected to refuse, and returns how it ended and what it said.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn refused(&self) -> Result<(ExitStatus, String)> {
        let mut server = self.spawn()?;
        let status = server.ended(START).await?;
        Ok((status, server.log_tail()))
    }

    fn spawn(&self) -> Result<Server> {
        let log = self.data.with_extension("server.log");
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut stdout_log = File::options().create(true).append(true).open(&log)?;
        let (unread, stderr): (_, Stdio) = if self.unread {
            let (unread, pipe) = full_pipe()?;
            (Some(unread), pipe.into())
        } else {
            (None, stdout_log.try_clone()?.into())
        };
        let mut child = std::process::Command::new(&self.binary)
            .arg("serve")
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &self.listen])
            .args(&self.arguments)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (ready, lines) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Only the line that says where it listens is waited for; nobody may take the rest.
                if line.starts_with("ready ") {
                    drop(ready.try_send(line));
                } else {
                    writeln!(stdout_log, "{line}").ok();
                }
            }
        });
        Ok(Server {
            child,
            lines,
            log,
            _unread: unread,
            url: String::new(),
            token: String::new(),
        })
    }
}

/// A pipe that takes nothing more.
fn full_pipe() -> Result<(PipeReader, PipeWriter)> {
    let (unread, mut pipe) = std::io::pipe()?;
    let flags = fcntl_getfl(&pipe)?;
    fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
    while pipe.write(b"\n").is_ok() {}
    fcntl_setfl(&pipe, flags)?;
    Ok((unread, pipe))
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: PathBuf,
    /// The end of a pipe that nobody reads: without it, what is written there would be an error.
    _unread: Option<PipeReader>,
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    /// The token made at its first start.
    pub token: String,
}

impl Server {
    /// A client with the first token.
    ///
    /// # Errors
    /// If none can be built.
    pub fn api(&self) -> Result<Api> {
        Api::new(&self.url, &self.token)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// If what it said is none.
    pub fn address(&self) -> Result<SocketAddr> {
        let url = self.url.trim_start_matches("http://");
        url.parse().with_context(|| format!("no address: {url}"))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a word, as `kill -9` does.
    ///
    /// # Errors
    /// If it had ended by itself, which is what no server should.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server had ended with {status}\n{}", self.log_tail());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Has it read its configuration again, by SIGHUP.
    ///
    /// # Errors
    /// If it has ended.
    pub fn hang_up(&self) -> Result<()> {
        signal(self.pid(), Signal::HUP)
    }

    /// Asks it to end, by SIGTERM, and waits until it has.
    ///
    /// # Errors
    /// If it has not by `deadline`.
    pub async fn terminate(mut self, deadline: Duration) -> Result<ExitStatus> {
        signal(self.pid(), Signal::TERM)?;
        self.ended(deadline).await
    }

    async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let waited = eventually("the server ends", deadline, async || {
            self.child.try_wait().ok().flatten()
        });
        waited.await.with_context(|| self.log_tail())
    }

    /// All that it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(SHOWN);
        format!("the server's log ends:\n{}", lines[from..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        // It may have ended already, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
