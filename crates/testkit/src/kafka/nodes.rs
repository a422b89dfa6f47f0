//! The nodes of a cluster: their ports, their properties, and starting them together.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Broker, Jit};

const PROPERTIES: &str = include_str!("../../kafka/server.properties");
const LOGGING: &str = include_str!("../../kafka/log4j2.properties");

/// Three nodes that replicate everything to all, with `min.insync.replicas` 2.
#[derive(Debug)]
pub struct BrokerCluster {
    /// The nodes; node n has the id n + 1.
    pub nodes: Vec<Broker>,
}

impl BrokerCluster {
    /// Starts it, with its data in `dir`, which is wiped.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start(dir: &Path) -> Result<Self> {
        let nodes = start_nodes(dir, 3).await?;
        Ok(Self { nodes })
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

pub(super) async fn start_nodes(dir: &Path, count: usize) -> Result<Vec<Broker>> {
    let mut brokers = prepare_nodes(dir, count)?;
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
    let ports = free_ports(count)?;
    let voters: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(node, ports)| format!("{}@127.0.0.1:{}", node + 1, ports.controller))
        .collect();
    let mut brokers = Vec::new();
    for (node, ports) in ports.iter().enumerate() {
        let dir = dir.join(format!("broker-{}", node + 1));
        prepare(&dir, node + 1, ports, &voters)?;
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

fn prepare(dir: &Path, node: usize, ports: &Ports, voters: &[String]) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let data = dir.join("data");
    // Alone it has nobody who takes over from it: on a machine that is short of time it is not to fence itself.
    let alone = match voters.len() {
        1 => "broker.session.timeout.ms=30000\n",
        _ => "",
    };
    let (replication, min_isr) = match voters.len() {
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
    fs::write(dir.join("server.properties"), properties)?;
    fs::write(dir.join("log4j2.properties"), LOGGING)?;
    Ok(())
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
