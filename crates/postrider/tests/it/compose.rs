//! What `deploy/compose.yaml` says is what the command takes.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use postrider_testkit::{YAML, client_library};
use serde_json::{Map, Value};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/compose.yaml");
const IMAGE: &str = include_str!("../../../../deploy/Dockerfile");

/// Anchors and merges resolved, as every reader of YAML does.
fn services() -> Map<String, Value> {
    let python = client_library(YAML).unwrap().join("bin/python");
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = Command::new(python).args(["-c", script, FILE]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut compose: Value = serde_json::from_slice(&output.stdout).unwrap();
    let services = compose["services"].take();
    services.as_object().unwrap().clone()
}

/// As compose fills in `${NAME:-default}` where NAME is not set.
fn filled_in(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (variable, after) = rest.split_once('}').unwrap();
    let (_, default) = variable.split_once(":-").unwrap();
    format!("{before}{default}{}", filled_in(after))
}

/// What a service's process finds in its environment.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let given = service["environment"].as_object().unwrap();
    let filled = given
        .iter()
        .map(|(name, value)| (name.clone(), filled_in(value.as_str().unwrap())));
    filled.collect()
}

fn command(service: &Value) -> Vec<&str> {
    let words = service["command"].as_array().unwrap().iter();
    words.map(|word| word.as_str().unwrap()).collect()
}

fn run(arguments: &[&str], environment: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(environment);
    command.output().unwrap()
}

fn of_postrider(services: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let ours = services
        .iter()
        .filter(|(_, service)| service["image"] == "postrider:latest");
    ours.collect()
}

#[test]
fn every_role_is_there_with_two_workers_and_a_configuration_that_the_command_takes() {
    let services = services();
    let ours = of_postrider(&services);
    let mut commands: Vec<String> = Vec::new();
    for (name, service) in &ours {
        let environment = environment(service);
        let output = run(&["config"], &environment);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains("kind = \"kafka\""), "{name}");
        assert!(printed.contains("postgres://postrider:***@postgres:5432/postrider"));

        let command = command(service);
        let known = run(&[&command[..], &["--help"]].concat(), &environment);
        assert!(
            known.status.success(),
            "{name}: no such command {command:?}"
        );
        commands.push(command.join(" "));
    }
    commands.sort();
    assert_eq!(
        commands,
        [
            "api",
            "deadletter",
            "fanout",
            "ingest",
            "pump",
            "recorder",
            "topics apply",
            "worker"
        ]
    );
    assert_eq!(services["worker"]["deploy"]["replicas"], 2);
}

#[test]
fn what_services_name_is_there_and_the_image_has_it() {
    let services = services();
    for (name, service) in of_postrider(&services) {
        let environment = environment(service);
        let (broker, port) = environment["POSTRIDER__LOG__KAFKA__BROKERS"]
            .split_once(':')
            .unwrap();
        let listeners = &services[broker]["environment"]["KAFKA_ADVERTISED_LISTENERS"];
        assert!(
            listeners
                .as_str()
                .unwrap()
                .contains(&format!("{broker}:{port}"))
        );
        let store = url::Url::parse(&environment["POSTRIDER__STORE__URL"]).unwrap();
        let database = &services[store.host_str().unwrap()];
        let database = self::environment(database);
        assert_eq!(database["POSTGRES_USER"], store.username());
        assert_eq!(
            Some(database["POSTGRES_PASSWORD"].as_str()),
            store.password()
        );
        assert_eq!(format!("/{}", database["POSTGRES_DB"]), store.path());
        for waits_for in service["depends_on"].as_object().unwrap().keys() {
            assert!(
                services.contains_key(waits_for),
                "{name} waits for {waits_for}"
            );
        }
        let listens = format!(
            "EXPOSE {}",
            environment["POSTRIDER__LISTEN"].rsplit_once(':').unwrap().1
        );
        assert!(IMAGE.contains(&listens), "{listens}");
        if name != "setup" {
            let probe = service["healthcheck"]["test"].as_array().unwrap();
            assert_eq!(probe[0], "CMD", "an image without a shell");
            assert!(IMAGE.contains(&format!("CMD [{}, {}]", probe[1], probe[2])));
            assert_eq!(probe[2], "health");
        }
    }
}
