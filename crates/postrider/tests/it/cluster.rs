//! Past one machine: every role a process of its own, on a Kafka broker and a PostgreSQL server.

use std::process::Command;
use std::time::Duration;

use postrider_testkit::{
    Api, Behaviour, Launch, Load, LossChecker, Receiver, Recording, Server, Target, eventually,
    kafka, shared_postgres, sql,
};
use serde_json::json;
use tempfile::TempDir;

use crate::killing::expect_everywhere;
use crate::world::DEADLINE;

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

/// Topics and a database that are a test's own, and the settings by which processes find them.
struct Cluster {
    directory: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Cluster {
    async fn new() -> Self {
        let directory = TempDir::with_prefix("postrider-cluster-").unwrap();
        // The folder's name is nobody else's.
        let name = directory.path().file_name().unwrap().to_str().unwrap();
        let name = name
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let server = shared_postgres().unwrap();
        sql(&server, &format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let (place, _) = server.rsplit_once('/').unwrap();
        let settings = vec![
            ("LOG__KIND", "kafka".to_owned()),
            ("LOG__KAFKA__BROKERS", kafka().unwrap()),
            ("LOG__KAFKA__TOPIC_PREFIX", format!("{name}.")),
            ("LOG__KAFKA__PARTITIONS", "4".to_owned()),
            ("LOG__KAFKA__REPLICATION", "1".to_owned()),
            ("LOG__KAFKA__MIN_INSYNC_REPLICAS", "1".to_owned()),
            ("STORE__URL", format!("{place}/{name}")),
            ("STORE__MAX_CONNECTIONS", "4".to_owned()),
        ];
        Self {
            directory,
            settings,
        }
    }

    /// Runs a command that ends by itself; returns whether it succeeded, and what it printed.
    fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(BINARY);
        command.args(arguments);
        for (key, value) in &self.settings {
            command.env(format!("POSTRIDER__{key}"), value);
        }
        let output = command.output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap().trim().to_owned();
        (output.status.success(), printed)
    }

    /// A process that plays these roles.
    async fn play(&self, name: &str, roles: &str, token: &str) -> Server {
        let data = self.directory.path().join(name);
        std::fs::create_dir(&data).unwrap();
        // Where a process on its own would have left the token that clients of it are given.
        std::fs::write(data.join("operator.token"), token).unwrap();
        let mut launch = Launch::new(BINARY, data)
            .set("DELIVERY__SCHEDULE", "0s,1s")
            .argument("--roles")
            .argument(roles);
        for (key, value) in &self.settings {
            launch = launch.set(key, value);
        }
        launch.start().await.unwrap()
    }
}

/// Waits until it says that it is ready: brokers may answer late about topics that they have just been given.
async fn ready(server: &Server) {
    let api = server.api().unwrap();
    let ready = eventually("it is ready", DEADLINE, async || {
        let told = api.get("/health/ready").await.ok()?;
        (told["status"] == "ready").then_some(())
    });
    ready.await.unwrap();
}

/// An endpoint that checks signatures; returns its id.
async fn endpoint(api: &Api, app: &str, receiver: &Receiver, path: &str, how: Behaviour) -> String {
    let spec = json!({ "url": receiver.on(path, how) });
    let id = api.create_endpoint(app, &spec).await.unwrap();
    receiver.verify(path, &api.secret(app, &id).await.unwrap());
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_as_a_process_delivers_retries_gives_up_replays_and_stops() {
    const EVENTS: u64 = 500;
    let cluster = Cluster::new().await;
    let (absent, told) = cluster.command(&["topics", "check"]);
    assert!(!absent && told.contains("does not exist"), "{told}");
    let (applied, told) = cluster.command(&["topics", "apply"]);
    assert!(applied && told.contains("created"), "{told}");
    let (made, token) = cluster.command(&["token", "create", "--scope", "operator"]);
    assert!(made && token.starts_with("pr_"), "{token}");

    let mut servers = Vec::new();
    for (name, role) in [
        ("ingest", "ingest"),
        ("fanout", "fanout"),
        ("worker-1", "worker"),
        ("worker-2", "worker"),
        ("pump", "pump"),
        ("deadletter", "deadletter"),
        ("recorder", "recorder"),
        ("api", "api"),
    ] {
        servers.push(cluster.play(name, role, &token).await);
    }
    for server in &servers {
        ready(server).await;
    }
    let (intake, api) = (&servers[0], servers[7].api().unwrap());
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let app = api.create_app("cluster").await.unwrap();
    for path in ["/one", "/two"] {
        endpoint(&api, &app, &receiver, path, Behaviour::Ok).await;
    }
    let load = Load {
        count: Some(EVENTS),
        ..Load::of(&app, "scenario.event")
    };
    let target = Target {
        address: intake.address().unwrap(),
        token: token.clone(),
    };
    let report = load.run_against(target.clone()).await.unwrap();
    assert_eq!(report.failed, 0, "{}", report.last_failure);
    receiver.wait_for("/one", EVENTS, DEADLINE).await.unwrap();
    receiver.wait_for("/two", EVENTS, DEADLINE).await.unwrap();
    let mut checker = LossChecker::default();
    expect_everywhere(&mut checker, &report, &["/one", "/two"]);
    let verdict = checker.judge(&receiver.arrivals());
    assert!(verdict.is_good(), "{verdict}");

    give_up_and_replay(&api, &app, &receiver, target).await;

    for server in servers {
        let status = server.terminate(DEADLINE).await.unwrap();
        assert!(status.success(), "ended with {status}");
    }
    let (same, told) = cluster.command(&["topics", "check"]);
    assert!(same, "{told}");
}

/// Two attempts fail and the delivery becomes a dead letter; mended, it arrives by a replay under the same id.
async fn give_up_and_replay(api: &Api, app: &str, receiver: &Receiver, target: Target) {
    let broken = endpoint(api, app, receiver, "/broken", Behaviour::FailFirst(2, 500)).await;
    let load = Load {
        count: Some(1),
        ..Load::of(app, "scenario.event")
    };
    load.run_against(target).await.unwrap();
    receiver.wait_for("/broken", 2, DEADLINE).await.unwrap();
    let path = format!("/api/v1/app/{app}/dead-letter?endpoint_id={broken}");
    let found = eventually("the dead letter is kept", DEADLINE, async || {
        let listed = api.get(&path).await.unwrap();
        listed["data"].as_array().filter(|data| data.len() == 1)?;
        Some(listed)
    });
    let letter = found.await.unwrap()["data"][0]["id"].clone();
    let body = json!({ "deadLetterIds": [letter] });
    let replay = format!("/api/v1/app/{app}/replay");
    api.post(&replay, &body).await.unwrap();
    receiver.wait_for("/broken", 3, DEADLINE).await.unwrap();
    let arrivals = receiver.arrivals_at("/broken");
    assert_eq!(arrivals[0].event, arrivals[2].event);
    assert_eq!(arrivals[0].body_hash, arrivals[2].body_hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_database_that_is_away_and_says_so() {
    let mut cluster = Cluster::new().await;
    // Nobody listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    cluster
        .settings
        .retain(|(key, _)| !key.starts_with("STORE__"));
    let url = format!("postgres://user:hunter2@{address}/nowhere");
    cluster.settings.push(("STORE__URL", url));

    // The pump needs no store, so it does not wait.
    let pump = cluster.play("pump", "pump", "").await;
    ready(&pump).await;
    let mut ingest = Command::new(BINARY);
    let log = cluster.directory.path().join("ingest.log");
    ingest
        .args(["ingest", "--listen", "127.0.0.1:0"])
        .envs(
            cluster
                .settings
                .iter()
                .map(|(key, value)| (format!("POSTRIDER__{key}"), value)),
        )
        .stderr(std::fs::File::create(&log).unwrap());
    let mut ingest = ingest.spawn().unwrap();
    let told = eventually("it says what it waits for", DEADLINE, async || {
        let said = std::fs::read_to_string(&log).ok()?;
        said.contains("waiting for it").then_some(said)
    });
    let told = told.await;
    let asked = Command::new("kill").arg(ingest.id().to_string()).status();
    let ended = eventually("it ends", Duration::from_secs(30), async || {
        ingest.try_wait().ok().flatten()
    });
    let ended = ended.await;
    if ended.is_err() {
        ingest.kill().unwrap();
    }
    let told = told.unwrap();
    assert!(
        told.contains("cannot be reached") && !told.contains("hunter2"),
        "{told}"
    );
    assert!(asked.unwrap().success() && ended.unwrap().success());
}
