//! What `deploy/compose.yaml` says is what the command takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postrider_testkit::{YAML, client_library, prometheus_program};
use serde_json::{Map, Value};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/compose.yaml");
const IMAGE: &str = include_str!("../../../../deploy/Dockerfile");

/// Anchors and merges resolved, as every reader of YAML does.
fn services() -> Map<String, Value> {
    let mut compose = yaml(Path::new(FILE));
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

/// What a service has mounted from here: where it is there, and which file or folder that is.
fn mounts(service: &Value) -> Vec<(PathBuf, PathBuf)> {
    let volumes = service["volumes"].as_array().unwrap().iter();
    let folder = Path::new(FILE).parent().unwrap();
    let bound = volumes.filter_map(|volume| {
        let (here, there) = volume
            .as_str()
            .unwrap()
            .strip_prefix("./")?
            .split_once(':')
            .unwrap();
        let there = there.strip_suffix(":ro").unwrap();
        Some((PathBuf::from(there), folder.join(here)))
    });
    bound.collect()
}

fn yaml(path: &Path) -> Value {
    let python = client_library(YAML).unwrap().join("bin/python");
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = Command::new(python).args(["-c", script]).arg(path).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn prometheus_finds_its_rules_and_scrapes_every_role_and_grafana_finds_prometheus_and_the_dashboards()
 {
    let services = services();
    // As it is mounted there, so that what the configuration names is looked for where it will be.
    let inside = tempfile::tempdir().unwrap();
    for (there, here) in mounts(&services["prometheus"]) {
        std::fs::copy(here, inside.path().join(there.file_name().unwrap())).unwrap();
    }
    let config = inside.path().join("prometheus.yaml");
    let check = Command::new(prometheus_program("promtool").unwrap())
        .args(["check", "config"])
        .arg(&config)
        .output();
    let check = check.unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(
        check.status.success() && said.contains("1 rule files found"),
        "{check:?}"
    );
    let found = &yaml(&config)["scrape_configs"][0]["dns_sd_configs"][0];
    let names = found["names"].as_array().unwrap().iter();
    let mut names: Vec<_> = names.map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    let ours = of_postrider(&services).into_iter();
    let mut roles: Vec<_> = ours.map(|(name, _)| name.as_str()).collect();
    roles.retain(|name| *name != "setup");
    roles.sort_unstable();
    assert_eq!(names, roles);
    assert!(IMAGE.contains(&format!("EXPOSE {}", found["port"])));

    let mounted = mounts(&services["grafana"]);
    let file = |name: &str| {
        let at = |(there, _): &&(PathBuf, PathBuf)| there.to_string_lossy().contains(name);
        mounted.iter().find(at).unwrap()
    };
    let source = &yaml(&file("provisioning/datasources").1)["datasources"][0];
    let url = url::Url::parse(source["url"].as_str().unwrap()).unwrap();
    assert!(services.contains_key(url.host_str().unwrap()), "{url}");
    let provider = &yaml(&file("provisioning/dashboards").1)["providers"][0];
    let (there, here) = file("lib/grafana/dashboards");
    assert_eq!(provider["options"]["path"], there.to_str().unwrap());
    assert!(here.join("overview.json").is_file());
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
            assert!(IMAGE.contains(&format!("CMD [{}, {}", probe[1], probe[2])));
            assert_eq!(probe[2], "health");
        }
    }
}

/// What `gcr.io/distroless/cc-debian12` has, and the system's loader.
const IN_THE_IMAGE: [&str; 7] = [
    "linux-vdso.so.1",
    "libssl.so.3",
    "libcrypto.so.3",
    "libgcc_s.so.1",
    "libm.so.6",
    "libc.so.6",
    "ld-linux-x86-64.so.2",
];

#[test]
fn the_binary_is_linked_with_nothing_that_the_image_has_not() {
    let output = Command::new("ldd").arg(BINARY).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for line in said.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap();
        let name = name.replace("ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2");
        assert!(IN_THE_IMAGE.contains(&name.as_str()), "{name}: {said}");
    }
}

#[test]
fn the_image_is_built_by_our_toolchain_and_runs_without_a_shell_as_nobody_in_particular() {
    let toolchain = include_str!("../../../../rust-toolchain.toml");
    let version = toolchain.split('"').nth(1).unwrap();
    let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
    let lines = IMAGE.replace("\\\n", " ");
    let lines: Vec<_> = lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let from: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("FROM "))
        .collect();
    assert!(from[0].contains(&format!("rust:{minor}")), "{}", from[0]);
    assert_eq!(from.len(), 2);
    assert!(from[1].ends_with(":nonroot"), "{}", from[1]);
    let last = lines.iter().position(|line| line == from[1]).unwrap();
    let image = &lines[last..];
    assert!(image.contains(&"USER 65532:65532"));
    assert!(
        !image.iter().any(|line| line.starts_with("RUN ")),
        "it has no shell"
    );
    for word in ["ENTRYPOINT ", "CMD "] {
        let at = image.iter().find(|line| line.starts_with(word)).unwrap();
        assert!(at[word.len()..].starts_with('['), "{at}");
    }
    // What is taken from the first stage was put there.
    for line in image.iter().filter(|line| line.starts_with("COPY ")) {
        let from = line
            .split_whitespace()
            .find(|word| word.starts_with("/out/"))
            .unwrap();
        let before = lines[..last].join(" ");
        assert!(before.contains(from), "{from}");
    }
}
