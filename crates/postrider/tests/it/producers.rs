//! Producers that we did not write publish straight to the topic of a real broker.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use postrider_testkit::{
    Api, Arrival, Behaviour, CLOUDEVENTS, Checked, Receiver, Recording, Server, client_library,
    eventually, setting,
};
use serde_json::json;

use crate::engines::Engines;
use crate::world::DEADLINE;

/// One process that plays every role, an application `acme` with an endpoint, and a receiver behind it.
struct Platform {
    engines: Engines,
    server: Server,
    api: Api,
    receiver: Receiver,
}

impl Platform {
    async fn new() -> Self {
        let engines = Engines::new().await.set("INGEST__MAX_PAYLOAD", "4KiB");
        let (server, api) = engines.serve().await;
        let receiver = Receiver::recording(Recording::Requests).unwrap();
        let platform = Self {
            engines,
            server,
            api,
            receiver,
        };
        platform.application("acme").await;
        platform
    }

    /// An application by this uid, with an endpoint at the path of that name, signatures checked.
    async fn application(&self, uid: &str) {
        let named = json!({ "name": uid, "uid": uid });
        self.api.post("/api/v1/app", &named).await.unwrap();
        let path = format!("/{uid}");
        let spec = json!({ "url": self.receiver.on(&path, Behaviour::Ok) });
        let endpoint = self.api.create_endpoint(uid, &spec).await.unwrap();
        let secret = self.api.secret(uid, &endpoint).await.unwrap();
        self.receiver.verify(&path, &secret);
    }

    fn topic(&self) -> String {
        format!("{}events", self.engines.get("LOG__KAFKA__TOPIC_PREFIX"))
    }

    /// Runs the producer in Python.
    fn python(&self, what: &str) {
        let python = client_library(CLOUDEVENTS).unwrap().join("bin/python");
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/scripts/kafka_producer.py"
        );
        let brokers = self.engines.get("LOG__KAFKA__BROKERS");
        let output = Command::new(python)
            .args([script, brokers, &self.topic(), "acme", what])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// Has the broker's own console producer, which is Java, send these lines: headers, a tab, the value.
    fn console(&self, lines: &str) {
        let jars = PathBuf::from(setting("POSTRIDER_TEST_KAFKA_JARS", String::new())).join("*");
        let mut producer = Command::new("java")
            .arg("-cp")
            .arg(jars)
            .arg("org.apache.kafka.tools.ConsoleProducer")
            .args([
                "--bootstrap-server",
                self.engines.get("LOG__KAFKA__BROKERS"),
            ])
            .args(["--topic", &self.topic(), "--sync"])
            .args(["--property", "parse.headers=true"])
            .args(["--property", "null.marker=NOTHING"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = producer.stdin.take().unwrap();
        input.write_all(lines.as_bytes()).unwrap();
        drop(input);
        let output = producer.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !said.contains("ERROR"),
            "the console producer: {said}"
        );
    }

    /// `postrider rejected` with these arguments; what it prints.
    fn rejected(&self, arguments: &[&str]) -> String {
        let token = self.engines.path().join("data/operator.token");
        let whose = ["--url", &self.server.url, "--token-file"];
        let arguments = [&["rejected"], arguments, &whose, &[token.to_str().unwrap()]].concat();
        self.engines.command(&arguments).ok()
    }

    /// Waits until so many records are listed as set aside; the lines of the list.
    async fn wait_for_rejected(&self, count: usize) -> Vec<String> {
        let listed = eventually("they are set aside", DEADLINE, async || {
            let listed = self.rejected(&["list"]);
            let lines: Vec<String> = listed.lines().map(str::to_owned).collect();
            (lines.len() == count).then_some(lines)
        });
        listed.await.unwrap()
    }

    async fn stop(self) {
        let status = self.server.terminate(DEADLINE).await.unwrap();
        assert!(status.success(), "ended with {status}");
    }
}

/// The line that gives this reason; the id of its record.
fn id_of<'a>(lines: &'a [String], reason: &str) -> &'a str {
    let of_reason: Vec<_> = lines.iter().filter(|line| line.contains(reason)).collect();
    assert_eq!(of_reason.len(), 1, "{reason:?} in {lines:#?}");
    of_reason[0].split_whitespace().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_cloudevents_library_publishes_in_both_modes_and_a_repeat_is_the_same_event() {
    let platform = Platform::new().await;
    platform.python("good");
    let receiver = &platform.receiver;
    let came = eventually("both events have come", DEADLINE, async || {
        let requests = receiver.requests("/acme");
        let came: BTreeSet<(String, String)> = requests
            .iter()
            .map(|request| {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                (body, request.text("webhook-id").to_owned())
            })
            .collect();
        (came.len() >= 2).then_some(came)
    });
    let came: Vec<_> = came.await.unwrap().into_iter().collect();
    let bodies: Vec<_> = came.iter().map(|(body, _)| body.as_str()).collect();
    assert_eq!(bodies, [r#"{"order": 1}"#, r#"{"order": 2}"#]);
    assert_ne!(came[0].1, came[1].1);
    let arrivals = receiver.arrivals_at("/acme");
    let good = |arrival: &Arrival| arrival.signature == Checked::Good;
    assert!(arrivals.iter().all(good));
    assert_eq!(platform.rejected(&["list"]), "");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_own_producer_publishes_plain_records_and_a_null_is_none() {
    let platform = Platform::new().await;
    platform.console(
        "application:acme,event-type:order.sent\t{\"plain\":1}\n\
         application:acme,event-type:order.sent\tNOTHING\n\
         application:acme,event-type:order.sent\t{\"plain\":2}\n",
    );
    let receiver = &platform.receiver;
    receiver.wait_for("/acme", 2, DEADLINE).await.unwrap();
    let lines = platform.wait_for_rejected(1).await;
    id_of(&lines, "value: there is none");
    let mut bodies: Vec<_> = receiver
        .requests("/acme")
        .iter()
        .map(|request| request.body.clone())
        .collect();
    bodies.sort();
    assert_eq!(bodies, [&b"{\"plain\":1}"[..], b"{\"plain\":2}"]);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_set_aside_with_the_reason_stops_nobody_and_can_be_retried() {
    let platform = Platform::new().await;
    platform.python("wrong");
    platform.python("good");
    let receiver = &platform.receiver;
    receiver.wait_for("/acme", 2, DEADLINE).await.unwrap();
    let lines = platform.wait_for_rejected(8).await;
    for reason in [
        "\"bad type!\" is not a valid event type",
        "UTF-8",
        "value: there is none",
        "5000",
    ] {
        id_of(&lines, reason);
    }
    let late = id_of(&lines, "there is no application not-there-yet");

    platform.application("not-there-yet").await;
    let told = platform.rejected(&["retry", late]);
    assert_eq!(told, format!("{late} is judged again\n"));
    receiver
        .wait_for("/not-there-yet", 1, DEADLINE)
        .await
        .unwrap();
    // Of all eight one is good by now; the seven others are set aside once more, with the first copies still listed.
    let told = platform.rejected(&["retry", "--all"]);
    assert_eq!(told, "8 are judged again; 0 cannot be\n");
    platform.wait_for_rejected(15).await;
    let mut ids: Vec<_> = receiver.arrivals_at("/not-there-yet").into_iter().collect();
    ids.dedup_by(|one, other| one.event == other.event);
    assert_eq!(
        ids.len(),
        1,
        "a record that is retried twice makes the same event"
    );
    platform.stop().await;
}
