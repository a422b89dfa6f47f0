//! The data directory and the operator's token in it.
//!
//! Whether another process has the directory, or a newer version wrote it, the log says when it is opened.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use postrider_access::Token;
use postrider_model::is_held;

/// What a data directory holds, by which one is known.
const OURS: [&str; 6] = [
    "log.db",
    "log.lock",
    "store.db",
    "store.lock",
    TOKEN,
    ADDRESS,
];
const TOKEN: &str = "operator.token";
const ADDRESS: &str = "address";
/// What file systems put into a volume of their own.
const OF_THE_VOLUME: [&str; 2] = ["lost+found", ".snapshot"];

/// Makes the directory, for its owner only, if it is not there. One that holds something else, and nothing of ours, is
/// somebody else's.
pub(crate) fn make(dir: &Path) -> anyhow::Result<()> {
    if let Some(stranger) = stranger(dir)? {
        bail!(
            "{} is no data directory of Postrider and is not empty (there is {} in it): name another with --data, or an empty \
             one",
            dir.display(),
            Path::new(&stranger).display()
        );
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the data directory {}", dir.display()))?;
    if is_open(dir) {
        tracing::warn!(
            "{0} is open to other users of this machine: chmod 700 {0}; it holds secrets and payloads",
            dir.display()
        );
    }
    Ok(())
}

/// True if others than its owner may read, write or enter it.
fn is_open(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

/// The first name in the directory that does not belong there, if nothing in it is ours.
fn stranger(dir: &Path) -> anyhow::Result<Option<OsString>> {
    let cannot_read = || format!("cannot read the data directory {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(cannot_read),
    };
    let names = entries.map(|entry| Ok(entry?.file_name()));
    let mut names: Vec<_> = names
        .collect::<std::io::Result<_>>()
        .with_context(cannot_read)?;
    if names
        .iter()
        .any(|name| OURS.iter().any(|ours| name == ours))
    {
        return Ok(None);
    }
    names.retain(|name| !OF_THE_VOLUME.iter().any(|of| name == of));
    names.sort();
    Ok(names.into_iter().next())
}

/// Said where an empty file in the log's place gives up what was in the old one.
pub(crate) const NEW_LOG_BEGINS: &str = "log.db is empty, and store.db is not: a new log begins; what was accepted and not yet delivered is given up";

/// Refuses a directory whose store has been used and whose log is gone: the log is made first, so it was there. An empty file
/// in its place is the operator's word that a new one is to begin: true if there is one ([`NEW_LOG_BEGINS`]).
pub(crate) fn check_log(dir: &Path) -> anyhow::Result<bool> {
    let size = |name| fs::metadata(dir.join(name)).map(|file| file.len());
    let is_used = size("store.db").is_ok_and(|bytes| bytes > 0);
    match size("log.db") {
        Err(error) if is_used && error.kind() == ErrorKind::NotFound => bail!(
            "log.db is not in {0}, and store.db is: what was accepted and not yet delivered lies in log.db. Put it back, with \
             log.db-wal if there is one, or take both files from one backup. To begin a new log, and give up what was in \
             the old one, make an empty file {0}/log.db",
            dir.display()
        ),
        Ok(0) => Ok(is_used && size("log.db-wal").unwrap_or_default() == 0),
        _ => Ok(false),
    }
}

/// Where the operator's token is kept.
pub(crate) fn token_file(dir: &Path) -> PathBuf {
    dir.join(TOKEN)
}

/// The token that is kept in the directory, if there is one.
pub(crate) fn read_token(dir: &Path) -> anyhow::Result<Option<Token>> {
    let file = token_file(dir);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(format!("cannot read {}", file.display())),
    };
    match text.trim().parse() {
        Ok(token) => Ok(Some(token)),
        Err(_) => bail!(
            "{} does not hold a token (pr_ and 43 characters): write the token back, or remove the file",
            file.display()
        ),
    }
}

/// Keeps `token` in the directory, for its owner only. It is there whole or not at all, also after loss of power.
pub(crate) fn write_token(dir: &Path, token: &Token) -> anyhow::Result<()> {
    let (file, beside) = (token_file(dir), dir.join("operator.token.new"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut out| {
            writeln!(out, "{}", token.expose())?;
            out.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &file))
        .and_then(|()| File::open(dir)?.sync_all());
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// Where the process that has the directory listens, for commands beside it. It is there while that process runs, and after a
/// kill until the next one starts.
pub(crate) struct Address(PathBuf);

impl Address {
    /// Says it, in the place of what a process said that was killed.
    pub(crate) fn say(dir: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let file = dir.join(ADDRESS);
        fs::write(&file, format!("{address}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self(file))
    }

    /// What the process says that has the directory now, if one has. What one said that was killed is nobody's word: somebody
    /// else may listen there by now, and would be given a token.
    pub(crate) fn of_running(dir: &Path) -> Option<SocketAddr> {
        let is_running = LOCKS.iter().any(|lock| is_held(&dir.join(lock)));
        is_running.then(|| Self::read(dir)).flatten()
    }

    /// What was said last, if anything can be read.
    pub(crate) fn read(dir: &Path) -> Option<SocketAddr> {
        fs::read_to_string(dir.join(ADDRESS))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, "{} could not be removed", self.0.display());
        }
    }
}

/// What a process holds that has the directory: with an embedded log, and with SQLite.
const LOCKS: [&str; 2] = ["log.lock", "store.lock"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_said_that_is_gone_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 8071));
        let _said = Address::say(dir.path(), address).unwrap();
        for lock in LOCKS {
            let file = File::create(dir.path().join(lock)).unwrap();
            assert_eq!(Address::of_running(dir.path()), None);
            file.lock().unwrap();
            assert_eq!(Address::of_running(dir.path()), Some(address));
        }
    }

    #[test]
    fn directory_and_token_are_for_their_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        make(&dir).unwrap();
        make(&dir).unwrap();
        assert!(read_token(&dir).unwrap().is_none());
        let token = Token::generate();
        write_token(&dir, &token).unwrap();
        assert_eq!(read_token(&dir).unwrap().unwrap().hash(), token.hash());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&token_file(&dir)), 0o600);
    }

    #[test]
    fn a_directory_of_somebody_elses_is_not_filled() {
        let root = tempfile::tempdir().unwrap();
        for name in OF_THE_VOLUME {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        make(root.path()).unwrap();
        fs::write(root.path().join("thesis.tex"), "").unwrap();
        let refused = make(root.path()).unwrap_err().to_string();
        assert!(
            refused.contains("thesis.tex") && refused.contains("--data"),
            "{refused}"
        );
        // Beside what is ours anything may lie.
        write_token(root.path(), &Token::generate()).unwrap();
        make(root.path()).unwrap();
        let file = root.path().join("thesis.tex");
        let refused = format!("{:#}", make(&file).unwrap_err());
        assert!(refused.contains("thesis.tex: Not a directory"), "{refused}");
    }

    #[test]
    fn a_file_that_holds_no_token_is_named_and_its_content_is_not_shown() {
        let root = tempfile::tempdir().unwrap();
        fs::write(token_file(root.path()), "pr_hunter2").unwrap();
        let error = format!("{:#}", read_token(root.path()).unwrap_err());
        assert!(
            error.contains("operator.token") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
