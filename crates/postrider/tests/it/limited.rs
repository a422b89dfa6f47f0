//! Brokers that ask what each user may do: every role runs as a user who may do what docs/cluster.md says, and no more.

use std::collections::BTreeMap;

use postrider_testkit::{
    Api, Behaviour, Launch, LimitingBroker, Receiver, Recording, SecuredBroker, Server, eventually,
};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use crate::engines::{Ended, Engines, ready};
use crate::world::DEADLINE;

const PAGE: &str = include_str!("../../../../docs/cluster.md");
/// Their users have these names, too.
const ROLES: [&str; 7] = [
    "ingest",
    "fanout",
    "worker",
    "pump",
    "deadletter",
    "recorder",
    "api",
];
/// Whose rights the doctor is asked of: each takes seconds.
const EXAMINED: [&str; 2] = ["fanout", "recorder"];
/// What the brokers and the log call a refusal.
const REFUSED: &str = "AuthorizationFailed";

/// What a role may do, line by line as the broker's side takes it, by the table of the page.
fn granted(role: &str, prefix: &str) -> Vec<String> {
    let (_, table) = PAGE.split_once("| User of |").unwrap();
    let row = table
        .lines()
        .find(|line| line.starts_with(&format!("| `{role}` |")));
    let cells: Vec<&str> = row.unwrap().split('|').skip(2).collect();
    let kinds = [("READ", "TOPIC"), ("WRITE", "TOPIC"), ("READ", "GROUP")];
    let mut lines = Vec::new();
    for ((operation, kind), cell) in kinds.into_iter().zip(cells) {
        let names = cell.split('`').skip(1).step_by(2);
        lines.extend(names.map(|name| format!("{role} {operation} {kind} {prefix}{name}")));
    }
    assert!(!lines.is_empty(), "{role}");
    lines
}

/// Every role may describe all.
fn described(role: &str, prefix: &str) -> [String; 2] {
    ["TOPIC", "GROUP"].map(|kind| format!("{role} DESCRIBE {kind} {prefix}*"))
}

fn lines(sign: char, of: impl IntoIterator<Item = String>) -> String {
    of.into_iter()
        .map(|line| format!("{sign} {line}\n"))
        .collect()
}

/// As this user.
fn as_user(engines: Engines, broker: &LimitingBroker, user: &str) -> Engines {
    engines
        .set("LOG__KAFKA__BROKERS", &broker.passwords)
        .set("LOG__KAFKA__PROTOCOL", "sasl_plaintext")
        .set("LOG__KAFKA__SASL_MECHANISM", "plain")
        .set("LOG__KAFKA__USERNAME", user)
        .set("LOG__KAFKA__PASSWORD", SecuredBroker::PASSWORD)
}

struct House {
    engines: Engines,
    broker: LimitingBroker,
    prefix: String,
    launch: Launch,
    servers: BTreeMap<&'static str, Server>,
}

impl House {
    async fn start(&mut self, role: &'static str) {
        let data = self.engines.path().join(role);
        std::fs::create_dir_all(&data).unwrap();
        let token = self.launch.data().join("operator.token");
        std::fs::copy(token, data.join("operator.token")).unwrap();
        let launch = self.launch.clone().data_in(data).argument("--roles");
        let launch = launch
            .argument(role)
            .set("LOG__KAFKA__BROKERS", &self.broker.passwords)
            .set("LOG__KAFKA__PROTOCOL", "sasl_plaintext")
            .set("LOG__KAFKA__SASL_MECHANISM", "plain")
            .set("LOG__KAFKA__USERNAME", role)
            .set("LOG__KAFKA__PASSWORD", SecuredBroker::PASSWORD);
        self.servers.insert(role, launch.start().await.unwrap());
    }

    fn api(&self, role: &str) -> Api {
        self.servers[role].api().unwrap()
    }
}

// One start of a broker for all of it: that takes seconds and 300 MB.
#[tokio::test(flavor = "multi_thread")]
async fn every_role_runs_with_the_rights_that_are_documented_and_what_is_missing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let broker = LimitingBroker::start(directory.path(), &ROLES).await;
    let broker = broker.unwrap();
    let engines = Engines::new()
        .await
        .set("LOG__KAFKA__BROKERS", broker.open())
        .set("LOG__KAFKA__PARTITIONS", "1")
        .set("DELIVERY__SCHEDULE", "0s,1s")
        .set("DELIVERY__BREAKER_FAILURES", "1")
        .set("DELIVERY__BREAKER_WAIT", "500ms")
        .set("DELIVERY__BREAKER_LONGEST_WAIT", "1s");
    engines.command(&["topics", "apply"]).ok();
    let prefix = engines.get("LOG__KAFKA__TOPIC_PREFIX").to_owned();
    let engines = engines.set("LOG__KAFKA__CREATE_TOPICS", "false");
    let launch = engines.launch();
    let all = ROLES.iter().flat_map(|role| {
        let described = described(role, &prefix).into_iter();
        described.chain(granted(role, &prefix))
    });
    broker.change(&lines('+', all)).await.unwrap();
    let mut house = House {
        engines,
        broker,
        prefix,
        launch,
        servers: BTreeMap::new(),
    };
    for role in ROLES {
        house.start(role).await;
    }
    for role in ROLES {
        ready(&house.api(role)).await;
    }
    all_is_done(&house).await;
    for (role, server) in &house.servers {
        let log = server.log();
        let line = log.lines().find(|line| line.contains(REFUSED));
        assert_eq!(line, None, "{role}");
    }
    for (_, server) in std::mem::take(&mut house.servers) {
        assert!(server.terminate(DEADLINE).await.unwrap().success());
    }
    what_is_missing_is_told(house).await;
}

/// Accepted, delivered, tried again, given up, replayed, resent, rejected, judged again and read.
async fn all_is_done(house: &House) {
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let (api, ingest) = (house.api("api"), house.api("ingest"));
    let app = api.create_app("limited").await.unwrap();
    let endpoint = async |path: &str, how| {
        let spec = json!({ "url": receiver.on(path, how) });
        api.create_endpoint(&app, &spec).await.unwrap()
    };
    let well = endpoint("/ok", Behaviour::Ok).await;
    endpoint("/broken", Behaviour::Status(500)).await;
    let event = json!({ "n": 1 });
    let event = ingest.publish(&app, "order.created", &event).await.unwrap();
    receiver.wait_for("/ok", 1, DEADLINE).await.unwrap();
    api.get(&format!("/api/v1/app/{app}/msg/{event}"))
        .await
        .unwrap();
    let resend = format!("/api/v1/app/{app}/msg/{event}/endpoint/{well}/resend");
    api.post(&resend, &json!({})).await.unwrap();
    receiver.wait_for("/ok", 2, DEADLINE).await.unwrap();

    receiver.wait_for("/broken", 2, DEADLINE).await.unwrap();
    let letters = format!("/api/v1/app/{app}/dead-letter");
    one_of(&api, &letters).await;
    receiver.on("/broken", Behaviour::Ok);
    let replay = json!({ "filter": {} });
    api.post(&format!("/api/v1/app/{app}/replay"), &replay)
        .await
        .unwrap();
    receiver.wait_for("/broken", 3, DEADLINE).await.unwrap();

    wrong_record(house).await;
    one_of(&api, "/api/v1/rejected").await;
    let again = api.post("/api/v1/rejected/retry", &json!({})).await;
    assert_eq!(again.unwrap()["retried"], 1);
}

async fn one_of(api: &Api, path: &str) {
    let there = eventually(path, DEADLINE, async || {
        let listed = api.get(path).await.ok()?;
        (listed["data"].as_array()?.len() == 1).then_some(())
    });
    there.await.unwrap();
}

/// A producer's, for an application that is not there.
async fn wrong_record(house: &House) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", house.broker.open());
    let producer: FutureProducer = config.create().unwrap();
    let mut headers = OwnedHeaders::new();
    for (key, value) in [("application", "nobody"), ("event-type", "a.b")] {
        let value = Some(value);
        headers = headers.insert(Header { key, value });
    }
    let topic = format!("{}events", house.prefix);
    let record = FutureRecord::<[u8], [u8]>::to(&topic);
    let record = record.headers(headers).payload(b"{}");
    producer.send(record, DEADLINE).await.unwrap();
}

/// It found something wrong with what its user may do, and said these words.
fn told(ended: &Ended, words: &[String]) {
    let Ended { code, out, err } = ended;
    assert_eq!(*code, 1, "{out}{err}");
    for word in words {
        assert!(
            out.contains(word) || err.contains(word),
            "{word}: {out}{err}"
        );
    }
    assert!(
        !out.contains("horse") && !err.contains("horse"),
        "{out}{err}"
    );
}

async fn what_is_missing_is_told(mut house: House) {
    let prefix = house.prefix.clone();
    let mut engines = house.engines;
    for role in EXAMINED {
        engines = as_user(engines, &house.broker, role);
        let found = engines.command(&["doctor", "--roles", role]).ok();
        for words in ["the brokers let our user", "not told to our user"] {
            assert!(found.contains(words), "{role}: {words}: {found}");
        }
    }
    let all = ROLES.iter().flat_map(|role| granted(role, &prefix));
    house.broker.change(&lines('-', all)).await.unwrap();
    for role in EXAMINED {
        engines = as_user(engines, &house.broker, role);
        let of_topics = granted(role, &prefix);
        let of_topics = of_topics.iter().filter_map(|line| {
            let (right, name) = line.split_once(" TOPIC ")?;
            let may = if right.ends_with("READ") {
                "read"
            } else {
                "written"
            };
            // Of many names that begin so, one.
            let name = name
                .replace("deliveries.*", "deliveries.bulk")
                .replace(".*", ".5m");
            Some(format!("{name} may not be {may}: "))
        });
        let words: Vec<String> = of_topics.collect();
        told(&engines.command(&["doctor", "--roles", role]), &words);
    }
    house.engines = engines;

    // Whether a group may be read only who joins it is told.
    house.start("recorder").await;
    let says = eventually("its log says what is refused", DEADLINE, async || {
        let log = house.servers["recorder"].log();
        let said = log.lines().find(|line| {
            line.contains("ERROR") && line.contains("group=recorder") && line.contains(REFUSED)
        });
        said.map(|_| ())
    });
    says.await.unwrap();
    let again = granted("recorder", &prefix);
    house.broker.change(&lines('+', again)).await.unwrap();
    let owns = eventually("it goes on once it may", DEADLINE, async || {
        let metrics = house.api("recorder").metrics().await.ok()?;
        let owned = crate::counted::sum(&metrics, "postrider_kafka_owned_partitions");
        (owned > 0.0).then_some(())
    });
    owns.await.unwrap();

    // What it may not describe is not there for it.
    let all = described("pump", &prefix);
    house.broker.change(&lines('-', all)).await.unwrap();
    let engines = as_user(house.engines, &house.broker, "pump");
    let ended = engines.command(&["pump", "--listen", "127.0.0.1:0"]);
    told(&ended, &[format!("{prefix}events does not exist")]);
}
