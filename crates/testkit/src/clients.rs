//! Where the official client libraries are that Postrider is held against.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::setting;

/// A Python venv with `svix` of the 1.x line.
pub const SVIX_1: &str = "svix1";
/// A Python venv with `svix` of the 2.x line and `standardwebhooks`.
pub const SVIX_2: &str = "svix2";
/// A Python venv with PyYAML.
pub const YAML: &str = "yaml";
/// A Python venv with `cloudevents` and `confluent-kafka`.
pub const CLOUDEVENTS: &str = "cloudevents";
/// A node folder with `standardwebhooks`.
pub const NODE: &str = "node";

/// The folder of the client library `name`: inside it `bin/python` or `node_modules`.
///
/// # Errors
/// If it is not installed; the message says how to get it.
pub fn client_library(name: &str) -> Result<PathBuf> {
    let root = setting("POSTRIDER_TEST_CLIENTS", String::new());
    let dir = PathBuf::from(&root).join(name);
    if root.is_empty() || !dir.is_dir() {
        bail!(
            "the official client libraries are not installed: run `make clients`, and set \
             POSTRIDER_TEST_CLIENTS to the folder it names (`make test` does both)"
        );
    }
    Ok(dir)
}
