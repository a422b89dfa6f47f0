//! The fail points that stand in the code.

use std::path::{Path, PathBuf};

/// Their names, each as often as it stands there.
pub(super) fn points() -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut points = Vec::new();
    for member in std::fs::read_dir(crates).unwrap() {
        for file in files(&member.unwrap().path().join("src")) {
            let text = std::fs::read_to_string(file).unwrap();
            let named = text.split("fail_point!(\"").skip(1);
            points.extend(named.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    points
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}
