//! Kafka brokers of a test's own: to be killed, paused and started again.
//!
//! Tests that only need a broker share one ([`kafka`]); starting one takes seconds and 300 MB.

mod nodes;
mod round_trip;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use self::nodes::{prepare_nodes, start_nodes};
use crate::process::signal;
use crate::{GroupProxy, eventually, setting};

pub use self::nodes::BrokerCluster;
pub use self::round_trip::bare_round_trip;

/// A broker starts in 4 s on a quiet machine, and in more than a hundred on a starved one.
const START: Duration = Duration::from_secs(300);
/// How much of its log a failing test shows, in lines.
const SHOWN: usize = 30;
/// Any identifier will do: nothing else ever joins these clusters.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// What it says once it takes connections.
const STARTED: &str = "Kafka Server started";
/// What a broker of a test is run with: little memory, and no more compiling than is quick.
const SMALL: &[&str] = &["-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1"];
/// What Kafka's own start script runs a broker with.
const AS_SHIPPED: &[&str] = &[
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

/// `HOST:PORT` of the broker that this run of the tests shares. Use topics and groups with a prefix of your own.
///
/// # Errors
/// If there is none; the message says how to start it.
pub fn kafka() -> Result<String> {
    required("POSTRIDER_TEST_KAFKA")
}

pub(crate) fn required(name: &str) -> Result<String> {
    let value = setting(name, String::new());
    ensure!(
        !value.is_empty(),
        "{name} is not set: this test needs a Kafka broker. `make test` starts one for all tests, and \
         `crates/testkit/scripts/with-services.sh COMMAND` for one command"
    );
    Ok(value)
}

/// How far a broker compiles its code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jit {
    /// As far as is quick: tests are over before more of it would pay.
    #[default]
    Quick,
    /// As Kafka's own start script has it: for measurements.
    Full,
}

/// One node of a cluster, as a process. Killed when it is dropped.
#[derive(Debug)]
pub struct Broker {
    dir: PathBuf,
    port: u16,
    jit: Jit,
    /// Seconds that its clock is before ours, or behind if negative.
    clock_off: i64,
    /// None while it does not run.
    child: Option<Child>,
}

impl Broker {
    /// Starts a cluster of one node, with its data in `dir`, which is wiped.
    ///
    /// # Errors
    /// If the jars are missing (the message says how to get them), or the broker does not start.
    pub async fn start(dir: &Path) -> Result<Self> {
        let mut nodes = start_nodes(dir, 1).await?;
        nodes.pop().context("no node")
    }

    /// Likewise, with a broker that compiles its code so, and has these lines behind its properties.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start_with(dir: &Path, jit: Jit, properties: &str) -> Result<Self> {
        let mut nodes = prepare_nodes(dir, 1)?;
        let mut broker = nodes.pop().context("no node")?;
        broker.jit = jit;
        let file = broker.dir.join("server.properties");
        let own = fs::read_to_string(&file)?;
        fs::write(&file, own + properties)?;
        broker.format(&[])?;
        broker.spawn()?;
        broker.started().await?;
        Ok(broker)
    }

    /// Likewise, with a clock that is so many seconds before ours, or behind if negative.
    ///
    /// # Errors
    /// As [`Broker::start`], or if libfaketime is missing.
    pub async fn start_with_clock(dir: &Path, seconds: i64) -> Result<Self> {
        let mut nodes = prepare_nodes(dir, 1)?;
        let mut broker = nodes.pop().context("no node")?;
        broker.format(&[])?;
        broker.set_clock(seconds);
        broker.spawn()?;
        broker.started().await?;
        Ok(broker)
    }

    /// Likewise, with these lines behind its properties.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start_with_properties(dir: &Path, properties: &str) -> Result<Self> {
        let (broker, _) = Self::start_with_ways_in(dir, &[], properties, &[]).await?;
        Ok(broker)
    }

    /// Likewise, with a second way in, through `proxy`: whoever comes by it is sent back to it for everything.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start_behind(dir: &Path, proxy: &GroupProxy) -> Result<Self> {
        let mut brokers = prepare_nodes(dir, 1)?;
        let mut broker = brokers.pop().context("no node")?;
        let inside = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        broker.add_way_in("PROXIED:PLAINTEXT", inside, proxy.address())?;
        broker.format(&[])?;
        broker.spawn()?;
        broker.started().await?;
        proxy.lead_to(inside);
        Ok(broker)
    }

    /// Likewise, with further ways in (each a name and a protocol, such as `TLS:SSL`) on ports that the system chooses, with
    /// these properties behind its own, and with `format` as further arguments of the tool that prepares its data.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub(crate) async fn start_with_ways_in(
        dir: &Path,
        ways_in: &[&str],
        properties: &str,
        format: &[&str],
    ) -> Result<(Self, Vec<SocketAddr>)> {
        let mut brokers = prepare_nodes(dir, 1)?;
        let mut broker = brokers.pop().context("no node")?;
        let held = ways_in.iter().map(|_| TcpListener::bind("127.0.0.1:0"));
        let held: Vec<TcpListener> = held.collect::<std::io::Result<_>>()?;
        let mut addresses = Vec::new();
        for (way_in, listener) in ways_in.iter().zip(held) {
            let address = listener.local_addr()?;
            broker.add_way_in(way_in, address, address)?;
            addresses.push(address);
        }
        let file = broker.dir.join("server.properties");
        let own = fs::read_to_string(&file)?;
        fs::write(&file, own + properties)?;
        broker.format(format)?;
        broker.spawn()?;
        broker.started().await?;
        Ok((broker, addresses))
    }

    /// Of two lines for one property the later counts.
    fn add_way_in(&self, way_in: &str, inside: SocketAddr, advertised: SocketAddr) -> Result<()> {
        let (name, _) = way_in.split_once(':').context("NAME:PROTOCOL")?;
        let file = self.dir.join("server.properties");
        let mut properties = fs::read_to_string(&file)?;
        for (key, more) in [
            ("listeners", format!("{name}://{inside}")),
            ("advertised.listeners", format!("{name}://{advertised}")),
            ("listener.security.protocol.map", way_in.to_owned()),
        ] {
            let mut lines = properties.lines().rev();
            let line = lines.find(|line| {
                line.strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with('='))
            });
            let line = line.with_context(|| format!("{key} is not in the broker's properties"))?;
            let longer = format!("{line},{more}\n");
            properties.push_str(&longer);
        }
        fs::write(file, properties)?;
        Ok(())
    }

    /// `HOST:PORT` to connect to; stays the same over a restart.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> Result<u32> {
        let child = self
            .child
            .as_ref()
            .context("the broker does not run at present")?;
        Ok(child.id())
    }

    /// Kills it with -9 and returns once it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It has ended already, or ends here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end, as an operator does, and returns once it has.
    ///
    /// # Errors
    /// If it does not run, or does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        signal(self.pid()?, Signal::TERM)?;
        let ended = eventually("the broker has ended", START, async || {
            self.child.as_mut()?.try_wait().ok().flatten()
        });
        ended.await?;
        self.child = None;
        Ok(())
    }

    /// From its next start on its clock is so many seconds before ours, or behind if negative.
    pub fn set_clock(&mut self, seconds: i64) {
        self.clock_off = seconds;
    }

    /// Starts it again, on the same port and data.
    ///
    /// # Errors
    /// If it runs, or does not start.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the broker runs already");
        self.spawn()?;
        self.started().await
    }

    fn log(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    fn java(&self) -> Result<Command> {
        let jars = required("POSTRIDER_TEST_KAFKA_JARS")?;
        let mut java = Command::new("java");
        let logging = self.dir.join("log4j2.properties");
        java.args(match self.jit {
            Jit::Quick => SMALL,
            Jit::Full => AS_SHIPPED,
        });
        if self.clock_off != 0 {
            java.env("LD_PRELOAD", faketime()?)
                .env("FAKETIME", format!("{:+}s", self.clock_off))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        java.arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .args(["-cp", &format!("{jars}/*")])
            .stdin(Stdio::null());
        Ok(java)
    }

    /// `more` are further arguments, such as users to begin with.
    fn format(&self, more: &[&str]) -> Result<()> {
        let properties = self.dir.join("server.properties");
        let format = self
            .java()?
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(properties)
            .args(more)
            .output()
            .context("starting java")?;
        let said = String::from_utf8_lossy(&format.stderr);
        ensure!(
            format.status.success(),
            "preparing the broker's data: {said}"
        );
        Ok(())
    }

    fn spawn(&mut self) -> Result<()> {
        // A file of its own for each start, so that what is read in it is of this one.
        let log = File::create(self.log())?;
        let child = self
            .java()?
            .arg("kafka.Kafka")
            .arg(self.dir.join("server.properties"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting java")?;
        self.child = Some(child);
        Ok(())
    }

    async fn started(&mut self) -> Result<()> {
        let log = self.log();
        let started = eventually("the broker has started", START, async || {
            let said = fs::read_to_string(&log).ok()?;
            if said.contains(STARTED) {
                return Some(Ok(()));
            }
            let status = self.child.as_mut()?.try_wait().ok().flatten()?;
            Some(Err(anyhow::anyhow!("the broker ended with {status}")))
        });
        let outcome = started.await.and_then(|ended| ended);
        outcome.with_context(|| tail(&log))
    }
}

/// The library that shows a program another time.
fn faketime() -> Result<PathBuf> {
    const NAME: &str = "faketime/libfaketimeMT.so.1";
    let arch = std::env::consts::ARCH;
    let folders = [
        format!("/usr/lib/{arch}-linux-gnu"),
        "/usr/lib64".to_owned(),
        "/usr/lib".to_owned(),
    ];
    let found = folders.iter().map(|folder| Path::new(folder).join(NAME));
    let mut found = found.filter(|file| file.is_file());
    found.next().context(
        "libfaketime is not here, by which this test has a broker with another clock: `make kafka` installs it, or \
         apt-get install libfaketime",
    )
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN)..];
    format!("the end of {}:\n{}", log.display(), shown.join("\n"))
}
