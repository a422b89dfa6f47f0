//! A snapshot in a file, sealed: what a process goes on with that starts while the store is away.
//!
//! The file holds endpoints' secrets and the hashes of tokens, so it is encrypted; and whoever could change it could send
//! deliveries elsewhere, so it is authenticated. It is replaced as a whole: what is there is always of one moment.

mod error;
mod key;
mod lines;
mod sealed;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postrider_model::Timestamp;
use postrider_store::StoreId;
use rand::RngCore;

use crate::Snapshot;
use lines::{Head, Written};
use sealed::{Opening, SALT, Sealing};

pub use error::SavedError;
pub use key::SealKey;

/// What every snapshot begins with.
const MAGIC: [u8; 8] = *b"postrsnp";
/// What is read and written; of another one nothing is understood. Grows with each field that is added.
const FORMAT: u16 = 1;
/// Magic, format, the key's name, the salt.
const HEADER: usize = 8 + 2 + 8 + SALT;
/// Its owner's alone, although it is sealed.
const MODE: u32 = 0o600;

/// A snapshot, what it is of, and of when.
#[derive(Debug, Clone)]
pub struct Saved {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) store: StoreId,
    /// From where on the feed is read.
    pub(crate) next: u64,
    /// When the refresh began that showed all of it.
    pub(crate) as_of: Timestamp,
}

impl Saved {
    /// Of when it is: every change that was visible then is in it.
    pub fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// What it holds.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// Where a snapshot is kept, and how.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// The file. Beside it is an empty one, with `.lock` behind its name, and another one, with `.new`, while it is written.
    pub path: PathBuf,
    /// What it is sealed with.
    pub key: SealKey,
    /// Where the store is that it is of, without user and password.
    pub place: String,
    /// How old it may be when it is read.
    pub max_age: Duration,
}

impl SnapshotFile {
    /// Reads what is there. Blocks.
    pub fn read(&self, now: Timestamp) -> Result<Saved, SavedError> {
        let file = File::open(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => SavedError::Missing,
            _ => SavedError::Io(error),
        })?;
        let mut from = BufReader::new(file);
        let (header, salt) = self.check_header(&mut from)?;
        let mut lines = Opening::new(&self.key, salt, header.to_vec(), from);
        let head = self.head(&mut lines, now)?;
        let mut snapshot = Snapshot::default();
        let mut line = Vec::new();
        while next_line(&mut lines, &mut line)? {
            snapshot.apply(lines::change(&line).map_err(not_ours)?);
        }
        snapshot.set_version(head.version);
        Ok(Saved {
            snapshot: Arc::new(snapshot),
            store: StoreId(head.store),
            next: head.next,
            as_of: head.as_of,
        })
    }

    /// Puts `saved` there, so that either it or what was there before is read, whatever happens meanwhile. Blocks. An error
    /// if another process is writing the same file.
    pub fn write(&self, saved: &Saved) -> io::Result<()> {
        let folder = folder_of(&self.path);
        let mut made = DirBuilder::new();
        made.recursive(true).mode(0o700).create(folder)?;
        // Held until this ends, and given back by the system if the process does.
        let _lock = lock(&self.beside(".lock"))?;
        let beside = self.beside(".new");
        let written = create(&beside)
            .and_then(|file| self.write_to(file, saved))
            .and_then(|()| fs::rename(&beside, &self.path))
            // The file's name is on the disk once its folder is.
            .and_then(|()| File::open(folder)?.sync_all());
        if written.is_err() {
            // Nothing more can be done about one that cannot be removed; it is replaced by the next.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut beside = self.path.clone().into_os_string();
        beside.push(suffix);
        PathBuf::from(beside)
    }

    fn check_header(&self, from: &mut impl Read) -> Result<([u8; HEADER], [u8; SALT]), SavedError> {
        let mut header = [0; HEADER];
        from.read_exact(&mut header)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => SavedError::Stranger,
                _ => SavedError::Io(error),
            })?;
        let (magic, rest) = header.split_at(MAGIC.len());
        let (format, rest) = rest.split_at(2);
        let (key, salt) = rest.split_at(8);
        if magic != MAGIC {
            return Err(SavedError::Stranger);
        }
        if format != FORMAT.to_be_bytes() {
            return Err(SavedError::Format(u16::from_be_bytes([
                format[0], format[1],
            ])));
        }
        if key != self.key.name() {
            return Err(SavedError::OtherKey);
        }
        let salt = salt.try_into().map_err(|_| SavedError::Stranger)?;
        Ok((header, salt))
    }

    fn head(&self, lines: &mut impl BufRead, now: Timestamp) -> Result<Head, SavedError> {
        let mut line = Vec::new();
        next_line(lines, &mut line)?;
        let head: Head = serde_json::from_slice(&line).map_err(not_ours)?;
        if head.place != self.place {
            return Err(SavedError::OtherStore {
                found: head.place,
                expected: self.place.clone(),
            });
        }
        let age = now.since(head.as_of);
        if age > self.max_age {
            let bears = self.max_age;
            return Err(SavedError::Old { age, bears });
        }
        Ok(head)
    }

    fn write_to(&self, file: File, saved: &Saved) -> io::Result<()> {
        let mut salt = [0; SALT];
        rand::rng().fill_bytes(&mut salt);
        let format = FORMAT.to_be_bytes();
        let header = [&MAGIC[..], &format, &self.key.name(), &salt].concat();
        let mut to = BufWriter::new(file);
        to.write_all(&header)?;
        let mut lines = Sealing::new(&self.key, salt, header, to);
        let head = Head {
            store: saved.store.0,
            place: self.place.clone(),
            version: saved.snapshot.version(),
            next: saved.next,
            as_of: saved.as_of,
        };
        put(&mut lines, &head)?;
        for thing in saved.snapshot.everything() {
            put(&mut lines, &thing)?;
        }
        let file = lines.finish()?.into_inner().map_err(|e| e.into_error())?;
        file.sync_all()
    }
}

impl Snapshot {
    /// All that is in it; types first, so that endpoints find their names to share.
    fn everything(&self) -> impl Iterator<Item = Written<'_>> {
        let types = self.event_types().map(|one| Written::EventType(one));
        let applications = self.applications().map(|one| Written::Application(one));
        let endpoints = self.endpoints().map(|one| Written::Endpoint(one));
        let tokens = self.tokens().map(|one| Written::Token(one));
        types.chain(applications).chain(endpoints).chain(tokens)
    }
}

/// The right to write, for as long as the file is open.
fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE);
    let file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            ErrorKind::WouldBlock,
            "another process is writing it, and each is to have a file of its own",
        )),
    }
}

/// A new file for its owner alone, in place of what a process left that was killed while it wrote.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(MODE).open(path)
}

fn folder_of(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn put(lines: &mut impl Write, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, line)?;
    lines.write_all(b"\n")
}

/// The next line, without its end; false behind the last one.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, SavedError> {
    line.clear();
    let read = lines
        .read_until(b'\n', line)
        .map_err(SavedError::of_content)?;
    Ok(read > 0)
}

/// That it is sealed with our key and still not what this program writes. The error does not show what is there.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_ours(error: serde_json::Error) -> SavedError {
    SavedError::Damaged(format!(
        "a line is not what this program writes ({:?})",
        error.classify()
    ))
}

#[cfg(test)]
mod tests;
