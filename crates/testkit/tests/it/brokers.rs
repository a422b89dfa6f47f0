//! Brokers of a test's own, as processes.

use std::net::TcpStream;

use postrider_testkit::{Broker, BrokerCluster};

fn takes_connections(broker: &Broker) -> bool {
    TcpStream::connect(broker.address()).is_ok()
}

#[tokio::test]
async fn a_broker_comes_back_on_its_port_after_a_kill_and_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path()).await.unwrap();
    let address = broker.address();
    assert!(takes_connections(&broker));
    broker.kill();
    assert!(!takes_connections(&broker));
    assert!(broker.pid().is_err());
    broker.restart().await.unwrap();
    broker.stop().await.unwrap();
    broker.restart().await.unwrap();
    assert_eq!(broker.address(), address);
    assert!(takes_connections(&broker));
}

#[tokio::test]
async fn a_cluster_of_three_goes_on_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = BrokerCluster::start(dir.path()).await.unwrap();
    assert_eq!(cluster.addresses().split(',').count(), 3);
    cluster.nodes[0].kill();
    assert!(takes_connections(&cluster.nodes[1]) && takes_connections(&cluster.nodes[2]));
    cluster.nodes[0].restart().await.unwrap();
    assert!(takes_connections(&cluster.nodes[0]));
}
