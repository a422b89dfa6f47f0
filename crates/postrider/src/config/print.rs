//! The configuration as it is in force, with every key documented: valid TOML that `--config` takes again.

use super::declare::Key;
use super::{Config, KEYS};

/// As TOML with comments.
pub(crate) fn toml(config: &Config) -> String {
    let mut text = String::from("# Postrider's configuration as it is in force.\n");
    let mut section = "";
    for (key, value) in KEYS.iter().zip(config.values()) {
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != section {
            section = of;
            text.push_str(&format!("\n[{section}]\n"));
        } else {
            text.push('\n');
        }
        text.push_str(&format!(
            "# {}\n# {}\n{name} = {value}\n",
            key.meaning,
            facts(key)
        ));
    }
    text
}

/// As a table for the documentation: defaults, not what is in force.
pub(crate) fn markdown() -> String {
    let mut text =
        String::from("| Key | Variable | Default | Value | Meaning |\n|---|---|---|---|---|\n");
    for key in KEYS {
        let default = if key.default.is_empty() {
            "none".to_owned()
        } else {
            format!("`{}`", key.default)
        };
        text.push_str(&format!(
            "| `{}` | `{}` | {default} | {} | {} |\n",
            key.path,
            key.variable(),
            key.expectation(),
            key.meaning
        ));
    }
    text
}

fn facts(key: &Key) -> String {
    let default = if key.default.is_empty() {
        "none"
    } else {
        key.default
    };
    format!(
        "{}. Default: {default}. Variable: {}",
        key.expectation(),
        key.variable()
    )
}
