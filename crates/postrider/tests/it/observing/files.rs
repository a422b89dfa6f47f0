//! The files themselves: what can be said of them without a server.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use postrider_testkit::prometheus_program;
use serde_json::Value;

pub(super) const RULES: &str = include_str!("../../../../../deploy/prometheus/postrider.yaml");
/// What every metric is.
const REFERENCE: &str = include_str!("../../../../../docs/metrics.md");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One query of a panel.
pub(crate) struct Query {
    /// Dashboard and panel.
    pub(crate) place: String,
    /// The unit that the panel shows it in, by Grafana's name.
    pub(crate) unit: String,
    /// As Grafana would send it, for all jobs, over intervals that fit a scrape each second.
    pub(crate) text: String,
}

impl Query {
    /// True if it stays as it is in a run in which processes neither come nor go, and all comes in time.
    pub(crate) fn is_constant(&self) -> bool {
        let constant = ["postrider_role", "postrider_info"];
        let all = metrics_in(&self.text);
        // Shares of what went well; and what names those that are not ready, each by a 1.
        let stays = [" / ((", "(1 - "];
        stays.iter().any(|part| self.text.contains(part))
            || all.iter().all(|name| constant.contains(name))
    }

    /// True if only a log on Kafka has an answer: only there do others write to the topic.
    pub(crate) fn needs_kafka(&self) -> bool {
        let kafkas = ["postrider_kafka_", "postrider_fanout_rejected_"];
        kafkas.iter().any(|name| self.text.contains(name))
    }
}

/// The queries of the runbooks' commands.
pub(super) fn asked_by_runbooks() -> Vec<String> {
    let mut queries = Vec::new();
    for runbook in std::fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let text = std::fs::read_to_string(runbook.unwrap().path()).unwrap();
        let commands = text.lines().filter(|line| line.contains("promtool query "));
        queries.extend(commands.filter_map(|line| {
            let (_, quoted) = line.split_once("$PROMETHEUS '")?;
            Some(quoted.trim_end_matches('\'').to_owned())
        }));
    }
    assert!(queries.len() > 50, "{queries:?}");
    queries
}

/// All dashboards, by the names of their files.
fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(root().join("deploy/grafana")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let read = json.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_str(&text).unwrap())
    });
    read.collect()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.filter(|panel| panel["type"] != "row")
}

/// Every query of every panel.
pub(crate) fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let text = target["expr"].as_str().unwrap();
                let text = text
                    .replace("$job", ".*")
                    .replace("$namespace", ".*")
                    .replace("$__rate_interval", "30s");
                let place = format!("{name}: {}", panel["title"]);
                let unit = &panel["fieldConfig"]["defaults"]["unit"];
                let unit = unit.as_str().unwrap().to_owned();
                queries.push(Query { place, unit, text });
            }
        }
    }
    queries
}

/// The words of `text` that look like names of our metrics, without the parts of histograms.
fn metrics_in(text: &str) -> HashSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_name(c));
    let ours = words.filter(|word| word.starts_with("postrider_") && !word.contains(':'));
    let parts = ["_bucket", "_sum", "_count"];
    ours.map(|word| {
        parts
            .iter()
            .find_map(|part| word.strip_suffix(part))
            .unwrap_or(word)
    })
    .collect()
}

fn promtool(arguments: &[&str]) {
    let output = Command::new(prometheus_program("promtool").unwrap())
        .args(arguments)
        .current_dir(root().join("deploy/prometheus"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_rules_are_sound_and_each_alert_fires_with_its_fault_and_not_without() {
    promtool(&["check", "rules", "postrider.yaml"]);
    promtool(&["test", "rules", "tests/alerts.yaml"]);
    promtool(&["test", "rules", "tests/presence.yaml"]);
    promtool(&["test", "rules", "tests/losses.yaml"]);
}

#[test]
fn every_alert_has_a_runbook_and_a_test_that_it_fires() {
    let tests = [
        include_str!("../../../../../deploy/prometheus/tests/alerts.yaml"),
        include_str!("../../../../../deploy/prometheus/tests/presence.yaml"),
        include_str!("../../../../../deploy/prometheus/tests/losses.yaml"),
    ];
    let dashboards = dashboards();
    let alerts: Vec<_> = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let runbook = format!("docs/runbooks/{alert}.md");
        assert!(root().join(&runbook).is_file(), "write {runbook}");
        assert!(
            RULES.contains(&format!("runbook_url: {runbook}")),
            "{alert} does not name {runbook}"
        );
        let linked = |(_, dashboard): &(String, Value)| {
            let mut links = dashboard["links"].as_array().unwrap().iter();
            links.any(|link| link["title"] == alert)
        };
        assert!(
            dashboards.iter().any(linked),
            "no dashboard leads to {runbook}"
        );
        let fires = format!("alertname: {alert}\n        exp_alerts:\n");
        let fires = tests.iter().any(|text| text.contains(&fires));
        assert!(fires, "no test has {alert} fire");
    }
}

#[test]
fn rules_dashboards_and_runbooks_speak_of_metrics_that_there_are() {
    let mut texts = vec![RULES.to_owned()];
    texts.extend(queries().into_iter().map(|query| query.text));
    for metric in texts.iter().flat_map(|text| metrics_in(text)) {
        assert!(
            REFERENCE.contains(&format!("`{metric}`")),
            "there is no {metric}"
        );
    }
    for runbook in std::fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let text = std::fs::read_to_string(runbook.unwrap().path()).unwrap();
        // Commands look for what several names begin with.
        for metric in metrics_in(&text) {
            assert!(
                REFERENCE.contains(&format!("`{metric}")),
                "there is no {metric}"
            );
        }
    }
}

/// The unit of a metric, by docs/metrics.md.
fn declared(metric: &str) -> &'static str {
    let row = format!("| `{metric}` | ");
    let found = REFERENCE.lines().find_map(|line| line.strip_prefix(&row));
    found.unwrap().split(" | ").nth(1).unwrap()
}

/// The units that a query of `text` may be shown in.
fn units_of(text: &str, metric: &str) -> &'static [&'static str] {
    let of_a_histogram = text.contains("histogram_quantile(");
    let is_share = text.contains(" / ");
    match (text.contains("rate("), declared(metric)) {
        _ if is_share => &["percentunit"],
        // Seconds in a second are processors, or a share of the time.
        (true, "seconds") if !of_a_histogram && !text.contains("_count{") => {
            &["short", "percentunit"]
        }
        (true, "bytes") if !of_a_histogram => &["Bps"],
        (true, _) if !of_a_histogram => &["ops"],
        (_, "seconds") => &["s"],
        (_, "bytes") => &["bytes"],
        _ => &["short"],
    }
}

#[test]
fn every_panel_is_in_the_unit_of_what_it_asks_for() {
    for query in queries() {
        for metric in metrics_in(&query.text) {
            // Who somebody is has no unit, and is joined to what has.
            if metric == "postrider_info" {
                continue;
            }
            let right = units_of(&query.text, metric);
            assert!(
                right.contains(&query.unit.as_str()),
                "{} is in {}, and {metric} there would be right in {right:?}: {}",
                query.place,
                query.unit,
                query.text
            );
        }
    }
}

#[test]
fn dashboards_are_what_their_script_writes_and_every_panel_says_what_it_shows() {
    let written = Command::new("python3")
        .args(["deploy/grafana/generate.py", "--check"])
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&written.stdout);
    assert!(written.status.success(), "{said}");
    let all = dashboards();
    assert_eq!(all.len(), 5);
    let uids: HashSet<_> = all
        .iter()
        .map(|(_, dashboard)| dashboard["uid"].as_str().unwrap())
        .collect();
    assert_eq!(uids.len(), all.len(), "two have the same uid");
    for (name, dashboard) in &all {
        let mut ids = HashSet::new();
        for panel in panels(dashboard) {
            let title = panel["title"].as_str().unwrap();
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            assert!(
                !title.is_empty() && ids.insert(panel["id"].as_u64().unwrap()),
                "{name}: {title}"
            );
            assert!(
                !panel["description"].as_str().unwrap().is_empty(),
                "{name}: {title} says nothing"
            );
            assert!(
                !unit.as_str().unwrap().is_empty(),
                "{name}: {title} has no unit"
            );
            assert!(
                !panel["targets"].as_array().unwrap().is_empty(),
                "{name}: {title} asks nothing"
            );
        }
        for link in dashboard["links"].as_array().unwrap() {
            let runbook = link["title"].as_str().unwrap();
            let path = format!("docs/runbooks/{runbook}.md");
            assert!(root().join(&path).is_file(), "{name} names {path}");
        }
    }
}
