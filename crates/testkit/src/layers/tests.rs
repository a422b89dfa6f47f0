//! The direction of the design passes; each kind of edge against it is named.

use super::*;

fn named(name: &str, table: Option<Table>, features: &[&str]) -> Dependency {
    let name = name.to_owned();
    let features = features.iter().map(|f| (*f).to_owned()).collect();
    Dependency {
        name,
        table,
        features,
    }
}

fn uses(name: &str, dependencies: &[&str]) -> Crate {
    let dependencies = dependencies.iter().map(|to| named(to, None, &[])).collect();
    Crate {
        name: name.to_owned(),
        dependencies,
    }
}

fn only_fault(name: &str, dependency: Dependency) -> String {
    let name = name.to_owned();
    let mut faults = faults(&[Crate {
        name,
        dependencies: vec![dependency],
    }]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn the_workspace_of_the_design_passes() {
    let workspace = [
        uses("postrider-model", &["prost", "bytes"]),
        uses("postrider-metrics", &["prometheus"]),
        uses("postrider-signing", &["postrider-model", "hmac"]),
        uses("postrider-log", &["postrider-model", "postrider-metrics"]),
        uses(
            "postrider-log-embedded",
            &["postrider-log", "postrider-model", "rusqlite"],
        ),
        uses(
            "postrider-store-sql",
            &["postrider-store", "postrider-metrics", "sqlx"],
        ),
        uses(
            "postrider-registry",
            &["postrider-store", "postrider-access"],
        ),
        uses(
            "postrider-delivery",
            &["postrider-registry", "postrider-log", "postrider-guard"],
        ),
        uses(
            "postrider",
            &[
                "postrider-delivery",
                "postrider-log-embedded",
                "clap",
                "anyhow",
            ],
        ),
        uses(
            "postrider-testkit",
            &["postrider-model", "postrider-signing", "anyhow"],
        ),
    ];
    assert_eq!(faults(&workspace), Vec::<String>::new());
}

#[test]
fn a_crate_that_no_layer_knows_is_an_error() {
    let faults = faults(&[uses("postrider-new", &["serde"])]);
    assert_eq!(
        faults,
        ["postrider-new is in no layer: add it to the layer table in testkit"]
    );
}

#[test]
fn every_normal_edge_against_the_direction_is_named_with_its_reason() {
    for (from, to, reason) in [
        (
            "postrider-api",
            "postrider-ingest",
            "services never depend on each other",
        ),
        (
            "postrider-fanout",
            "postrider-log-embedded",
            "only the binary chooses an adapter",
        ),
        (
            "postrider-registry",
            "postrider-store-sql",
            "only the binary chooses an adapter",
        ),
        (
            "postrider-store-sql",
            "postrider-log-embedded",
            "only the binary chooses an adapter",
        ),
        (
            "postrider-store-sql",
            "postrider-signing",
            "ports, model and metrics only",
        ),
        (
            "postrider-log-embedded",
            "postrider-registry",
            "ports, model and metrics only",
        ),
        ("postrider-model", "postrider-metrics", "lower layers only"),
        ("postrider-model", "postrider-log", "lower layers only"),
        ("postrider-signing", "postrider-guard", "lower layers only"),
        ("postrider-log", "postrider-signing", "lower layers only"),
        ("postrider-store", "postrider-log", "lower layers only"),
        (
            "postrider-registry",
            "postrider-delivery",
            "lower layers only",
        ),
        ("postrider-delivery", "postrider", "lower layers only"),
        ("postrider-ingest", "postrider-testkit", "tests only"),
        ("postrider", "postrider-testkit", "tests only"),
        ("postrider-testkit", "postrider-log", "from outside"),
        ("postrider-testkit", "postrider-guard", "from outside"),
        ("postrider-testkit", "postrider-metrics", "from outside"),
        ("postrider-testkit", "postrider", "from outside"),
        ("postrider-ingest", "clap", "only the binary reads"),
        ("postrider-store-sql", "config", "only the binary reads"),
        ("postrider-recorder", "sqlx", "only an adapter"),
        ("postrider-testkit", "rdkafka", "only an adapter"),
        ("postrider", "rusqlite", "only an adapter"),
        ("postrider-pump", "anyhow", "thiserror"),
    ] {
        let fault = only_fault(from, named(to, None, &[]));
        let edge = format!("{from} must not name {to} in [dependencies]: ");
        assert!(
            fault.starts_with(&edge) && fault.contains(reason),
            "{fault}"
        );
    }
}

#[test]
fn a_build_script_is_judged_as_the_crate_itself() {
    let fault = only_fault(
        "postrider-model",
        named("postrider-log", Some(Table::Build), &[]),
    );
    assert!(fault.contains("[build-dependencies]"), "{fault}");
}

#[test]
fn the_feature_for_tests_comes_in_by_dev_dependencies_only() {
    let normal = named("postrider-log", None, &["testing"]);
    let fault = only_fault("postrider-fanout", normal);
    assert!(
        fault.contains("`testing` belongs in [dev-dependencies]"),
        "{fault}"
    );

    let dependencies = vec![named("postrider-log", Some(Table::Dev), &["testing"])];
    let name = "postrider-fanout".to_owned();
    assert!(faults(&[Crate { name, dependencies }]).is_empty());
}

#[test]
fn nothing_but_tests_arms_fail_points() {
    let fault = only_fault(
        "postrider-fanout",
        named("postrider-failpoint", None, &["armed"]),
    );
    assert!(
        fault.contains("`armed` belongs in [dev-dependencies]"),
        "{fault}"
    );
}

#[test]
fn tests_may_use_testkit_lower_layers_and_any_outside_crate() {
    for (from, to) in [
        ("postrider-model", "postrider-testkit"),
        ("postrider-delivery", "postrider-testkit"),
        ("postrider-delivery", "postrider-registry"),
        ("postrider-log-embedded", "postrider-log"),
        ("postrider-log", "postrider-log"),
        ("postrider-recorder", "rusqlite"),
        ("postrider", "postrider-log-embedded"),
        ("postrider", "postrider-testkit"),
        ("postrider", "postrider-delivery"),
    ] {
        let dependencies = vec![named(to, Some(Table::Dev), &[])];
        let name = from.to_owned();
        let faults = faults(&[Crate { name, dependencies }]);
        assert!(faults.is_empty(), "{faults:?}");
    }
}

#[test]
fn tests_use_no_other_service_no_adapter_and_nothing_above() {
    for (from, to, reason) in [
        (
            "postrider-fanout",
            "postrider-delivery",
            "stand with the binary",
        ),
        (
            "postrider-fanout",
            "postrider-log-embedded",
            "only the binary's tests",
        ),
        (
            "postrider-testkit",
            "postrider-store-sql",
            "only the binary's tests",
        ),
        ("postrider-log", "postrider-registry", "lower layers only"),
        ("postrider-delivery", "postrider", "lower layers only"),
    ] {
        let fault = only_fault(from, named(to, Some(Table::Dev), &[]));
        let edge = format!("{from} must not name {to} in [dev-dependencies]: ");
        assert!(
            fault.starts_with(&edge) && fault.contains(reason),
            "{fault}"
        );
    }
}

#[test]
fn the_output_of_cargo_metadata_is_understood() {
    let metadata = br#"{ "version": 1, "packages": [ { "name": "postrider-log", "id": "x",
        "dependencies": [
            { "name": "bytes", "kind": null, "features": [], "req": "^1" },
            { "name": "postrider-model", "kind": "dev", "features": ["testing"], "path": "/x" }
        ] } ] }"#;
    let workspace = parse(metadata).unwrap();
    let expected = vec![
        named("bytes", None, &[]),
        named("postrider-model", Some(Table::Dev), &["testing"]),
    ];
    assert_eq!(workspace[0].dependencies, expected);
    assert!(parse(b"cargo: not found").is_err());
}
