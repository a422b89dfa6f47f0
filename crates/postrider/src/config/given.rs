//! What was given, by whom: a file, then the environment over it, then the command line over both.

use std::collections::BTreeMap;
use std::path::Path;

use config::{ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::declare::Key;
use super::error::Problem;
use super::stray;

/// The value of one key as text, and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) text: String,
    pub(crate) from: From,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// The file of `--config`.
    File(String),
    /// A variable of the environment.
    Environment,
    /// A flag.
    Flag(&'static str),
}

/// All values that were given, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Given(BTreeMap<String, Leaf>);

/// What the library says, without the file's name, which it writes in a way of its own.
fn words(error: ConfigError) -> String {
    match error {
        ConfigError::FileParse { cause, .. } => cause.to_string().trim_end().to_owned(),
        error => error.to_string(),
    }
}

impl Given {
    /// Reads `file`, if there is one. A file that cannot be read is a problem like any other.
    pub(super) fn add_file(&mut self, file: &Path, problems: &mut Vec<Problem>) {
        let name = file.display().to_string();
        let fault = match std::fs::metadata(file) {
            Ok(found) if found.is_dir() => Some(format!(
                "it is a directory, and --config names a file: perhaps {}; where data is kept is said by --data",
                file.join("postrider.toml").display()
            )),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = fault {
            return problems.push(Problem::File { file: name, why });
        }
        match File::from(file).format(FileFormat::Toml).collect() {
            Ok(table) => self.add_table("", table, &From::File(name)),
            Err(error) => problems.push(Problem::File {
                file: name,
                why: words(error),
            }),
        }
    }

    /// Reads the variables `POSTRIDER__…` of this process, or of `instead` in tests. One that only looks like them is a
    /// problem: who set it believes that it does something.
    pub(super) fn add_environment(
        &mut self,
        instead: Option<Map<String, String>>,
        keys: &[Key],
        problems: &mut Vec<Problem>,
    ) {
        let strays = match &instead {
            Some(variables) => stray::among(variables.clone()),
            None => stray::among(stray::of_process()),
        };
        problems.extend(strays.into_iter().map(|name| Problem::of_stray(name, keys)));
        let variables = Environment::with_prefix("POSTRIDER")
            .separator("__")
            .source(instead);
        match variables.collect() {
            Ok(table) => self.add_table("", table, &From::Environment),
            // The library's own error would show the value.
            Err(_) => problems.push(Problem::NotUtf8),
        }
    }

    /// A value from the command line.
    pub(super) fn add_flag(&mut self, flag: &'static str, path: &str, text: String) {
        let from = From::Flag(flag);
        self.0.insert(path.to_owned(), Leaf { text, from });
    }

    /// What was given for `path`.
    pub(super) fn leaf(&self, path: &str) -> Option<&Leaf> {
        self.0.get(path)
    }

    /// Takes what was given for `path` back.
    pub(super) fn forget(&mut self, path: &str) {
        self.0.remove(path);
    }

    /// Everything that was given.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (&str, &Leaf)> {
        self.0.iter().map(|(path, leaf)| (path.as_str(), leaf))
    }

    fn add_table(&mut self, above: &str, table: Map<String, Value>, from: &From) {
        for (name, value) in table {
            let path = if above.is_empty() {
                name
            } else {
                format!("{above}.{name}")
            };
            match value.kind {
                ValueKind::Table(below) if is_table(&path) => {
                    let mut entries = Vec::new();
                    flatten("", below, &mut entries);
                    let (text, from) = (entries.join(";"), from.clone());
                    self.0.insert(path, Leaf { text, from });
                }
                ValueKind::Table(below) => self.add_table(&path, below, from),
                kind => {
                    let text = text_of(kind);
                    let from = from.clone();
                    self.0.insert(path, Leaf { text, from });
                }
            }
        }
    }
}

/// Whether a key of this name takes a table.
fn is_table(path: &str) -> bool {
    super::KEYS.iter().any(|key| key.table && key.path == path)
}

/// A table's entries as `name=value`; dots in a name that has no quotes make tables in tables.
fn flatten(above: &str, table: Map<String, Value>, entries: &mut Vec<String>) {
    for (name, value) in table {
        let name = match above {
            "" => name,
            above => format!("{above}.{name}"),
        };
        match value.kind {
            ValueKind::Table(below) => flatten(&name, below, entries),
            kind => entries.push(format!("{name}={}", text_of(kind))),
        }
    }
    entries.sort_unstable();
}

/// A value of any shape as the environment would write it.
fn text_of(kind: ValueKind) -> String {
    match kind {
        ValueKind::Nil => String::new(),
        ValueKind::Boolean(value) => value.to_string(),
        ValueKind::I64(value) => value.to_string(),
        ValueKind::I128(value) => value.to_string(),
        ValueKind::U64(value) => value.to_string(),
        ValueKind::U128(value) => value.to_string(),
        ValueKind::Float(value) => value.to_string(),
        ValueKind::String(value) => value,
        ValueKind::Array(values) => {
            let texts: Vec<_> = values
                .into_iter()
                .map(|value| text_of(value.kind))
                .collect();
            texts.join(",")
        }
        // Only inside a list: no key takes that, and its error shows what it was.
        ValueKind::Table(_) => "{…}".to_owned(),
    }
}
