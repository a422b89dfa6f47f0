//! The nodes of a cluster: their ports, their properties, and starting them together.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Broker, Jit};

const PROPERTIES: &str = include_str!("../../kafka/server.properties");
const LOGGING: &str = include_str!("../../kafka/log4j2.properties");

/// Three brokers that replicate everything to all, with `min.insync.replicas` 2, and a controller that is none of them:
/// leaders are chosen however many of the brokers are gone.
#[derive(Debug)]
pub struct BrokerCluster {
    /// The brokers; node n has the id n + 1.
    pub nodes: Vec<Broker>,
    _controller: Broker,
}

impl BrokerCluster {
    /// Starts it, with its data in `dir`, which is wiped.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start(dir: &Path) -> Result<Self> {
        let mut nodes = start(prepare_cluster(dir, 3)?).await?;
        let _controller = nodes.pop().context("no controller")?;
        Ok(Self { nodes, _controller })
    }

    /// `HOST:PORT` of every node, as clients take them.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(Broker::address).collect();
        addresses.join(",")
    }
}

/// The ports of one node: for clients, and for the other nodes' controllers.
struct Ports {
    client: u16,
    controller: u16,
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plays {
    Both,
    Broker,
    Controller,
}

pub(super) async fn start_nodes(dir: &Path, count: usize) -> Result<Vec<Broker>> {
    start(prepare_nodes(dir, count)?).await
}

async fn start(mut brokers: Vec<Broker>) -> Result<Vec<Broker>> {
    for broker in &brokers {
        broker.format(&[])?;
    }
    // All at once: none starts before most are there.
    for broker in &mut brokers {
        broker.spawn()?;
    }
    for broker in &mut brokers {
        broker.started().await?;
    }
    Ok(brokers)
}

pub(super) fn prepare_nodes(dir: &Path, count: usize) -> Result<Vec<Broker>> {
    prepare_all(dir, &vec![Plays::Both; count])
}

/// So many brokers, and behind them one controller.
fn prepare_cluster(dir: &Path, brokers: usize) -> Result<Vec<Broker>> {
    let mut nodes = vec![Plays::Broker; brokers];
    nodes.push(Plays::Controller);
    prepare_all(dir, &nodes)
}

fn prepare_all(dir: &Path, nodes: &[Plays]) -> Result<Vec<Broker>> {
    let ports = free_ports(nodes.len())?;
    let all = || (1..).zip(nodes.iter().zip(&ports));
    let voters: Vec<String> = all()
        .filter(|(_, (plays, _))| **plays != Plays::Broker)
        .map(|(node, (_, ports))| format!("{node}@127.0.0.1:{}", ports.controller))
        .collect();
    let copies = nodes.iter().filter(|plays| **plays != Plays::Controller);
    let copies = copies.count();
    let mut brokers = Vec::new();
    for (node, (plays, ports)) in all() {
        let dir = dir.join(format!("broker-{node}"));
        prepare(&dir, (node, *plays), ports, &voters, copies)?;
        brokers.push(Broker {
            dir,
            port: ports.client,
            jit: Jit::default(),
            clock_off: 0,
            child: None,
        });
    }
    Ok(brokers)
}

fn prepare(
    dir: &Path,
    (node, plays): (usize, Plays),
    ports: &Ports,
    voters: &[String],
    copies: usize,
) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let data = dir.join("data");
    // Alone it has nobody who takes over from it: on a machine that is short of time it is not to fence itself.
    let alone = match copies {
        1 => "broker.session.timeout.ms=30000\n",
        _ => "",
    };
    let (replication, min_isr) = match copies {
        1 => ("1", "1"),
        _ => ("3", "2"),
    };
    let properties = PROPERTIES
        .replace("@NODE@", &node.to_string())
        .replace("@VOTERS@", &voters.join(","))
        .replace("@PORT@", &ports.client.to_string())
        .replace("@CONTROLLER@", &ports.controller.to_string())
        .replace("@DATA@", data.to_str().context("a folder's name in UTF-8")?)
        .replace("@REPLICATION@", replication)
        .replace("@MIN_ISR@", min_isr)
        + alone;
    fs::write(dir.join("server.properties"), of_role(&properties, plays))?;
    fs::write(dir.join("log4j2.properties"), LOGGING)?;
    Ok(())
}

/// The properties of a node that plays both, for one that plays this: without the other's way in.
fn of_role(properties: &str, plays: Plays) -> String {
    let lines = properties.lines().filter_map(|line| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        match (plays, key) {
            (Plays::Broker, "process.roles") => Some(format!("{key}=broker")),
            (Plays::Controller, "process.roles") => Some(format!("{key}=controller")),
            (Plays::Broker, "listeners") => {
                let (clients, _) = value.split_once(',')?;
                Some(format!("{key}={clients}"))
            }
            (Plays::Controller, "listeners") => {
                let (_, controllers) = value.split_once(',')?;
                Some(format!("{key}={controllers}"))
            }
            (Plays::Controller, "advertised.listeners" | "inter.broker.listener.name") => None,
            _ => Some(line.to_owned()),
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Asks the system for ports, all held until all are known. Another program may take one before the broker does: then
/// the broker says so and the test fails.
fn free_ports(nodes: usize) -> Result<Vec<Ports>> {
    let held: Vec<TcpListener> = (0..2 * nodes)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()?;
    let ports: Vec<u16> = held
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<std::io::Result<_>>()?;
    let pair = |pair: &[u16]| match pair {
        [client, controller] => Ok(Ports {
            client: *client,
            controller: *controller,
        }),
        _ => bail!("ports come in pairs"),
    };
    ports.chunks(2).map(pair).collect()
}
