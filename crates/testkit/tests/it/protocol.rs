//! What the documents say of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Adds the names of all functions in the Rust files below `dir`.
fn functions_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let functions = text.split("fn ").skip(1);
            let names = functions.filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_guarantees_and_protocol_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut functions = BTreeSet::new();
    functions_below(&root.join("crates"), &mut functions);
    let mut named = 0;
    for page in ["docs/guarantees.md", "docs/protocol.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        // Names of tests are sentences; nothing else between backticks has so many words, but metrics.
        let names = text.split('`').skip(1).step_by(2);
        let names = names.filter(|name| name.matches('_').count() >= 4 && !name.contains(' '));
        let names = names.filter(|name| !name.to_ascii_lowercase().starts_with("postrider_"));
        for name in names {
            named += 1;
            assert!(functions.contains(name), "{page} names {name}");
        }
    }
    assert!(named > 40, "{named} found");
}
