//! Opening the files and starting the threads.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::catalog::Catalog;
use crate::disk::ReadPool;
use crate::schema::{self, TopicEnds};
use crate::shared::{Parts, Shared};
use crate::state::State;
use crate::transaction::Tables;
use crate::{OpenError, Options, checkpoint, lock, syncer, writer};

/// The writer's thread ends last: it holds the connection that keeps the WAL, and the lock.
pub(crate) struct Threads {
    writer: JoinHandle<()>,
}

impl Threads {
    /// Waits until everything that was taken is written and synced, and the files are closed.
    pub(crate) fn join(self) {
        if self.writer.join().is_err() {
            tracing::error!("the log's writer has panicked");
        }
    }
}

/// What the writer's thread owns.
struct Files {
    connection: Connection,
    checkpointing: Connection,
    wal: File,
    lock: Arc<File>,
    ends: Vec<TopicEnds>,
}

pub(crate) fn open(options: Options) -> Result<(Arc<Shared>, Threads), OpenError> {
    options.check()?;
    let dir = &options.dir;
    std::fs::create_dir_all(dir).map_err(OpenError::io(dir))?;
    let lock = lock::take(dir)?;
    let file = dir.join("log.db");
    let wal = dir.join("log.db-wal");
    let catalog = Catalog::new(options.topics.clone());
    let failed = OpenError::database(&file);
    let connection = schema::open(&file, catalog.sql())?;
    let ends = schema::load_topics(&connection, catalog.specs(), catalog.sql()).map_err(&failed)?;
    let progress = schema::load_progress(&connection).map_err(&failed)?;
    let files = Files {
        checkpointing: checkpoint::connect(&file).map_err(&failed)?,
        wal: open_wal(&wal)?,
        lock: Arc::clone(&lock),
        connection,
        ends,
    };
    sync_dir(dir)?;
    let state = State::new(&catalog, &files.ends, progress, options.tail_bytes);
    let disk = ReadPool::new(file.clone(), lock);
    let parts = Parts {
        catalog,
        state,
        file,
        wal,
        disk,
    };
    let shared = Arc::new(Shared::new(parts, &options));
    let threads = start(Arc::clone(&shared), files, options)?;
    Ok((shared, threads))
}

/// The WAL, which is there since the schema was written. Never created here, and never `log.db` itself: closing a
/// handle on that would drop the locks that SQLite has on it.
fn open_wal(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(OpenError::io(path))
}

/// Makes the files' names durable.
fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(OpenError::io(dir))
}

fn start(shared: Arc<Shared>, files: Files, options: Options) -> Result<Threads, OpenError> {
    let dir = options.dir.clone();
    let spawned = thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || {
            run(&shared, files, &options);
        });
    let writer = spawned.map_err(OpenError::io(&dir))?;
    Ok(Threads { writer })
}

/// The writer's thread, and inside it the two others.
fn run(shared: &Arc<Shared>, files: Files, options: &Options) {
    let Files {
        connection,
        checkpointing,
        wal,
        lock,
        ends,
    } = files;
    thread::scope(|scope| {
        let _guard = PanicGuard(shared);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let syncer = named("log-syncer").spawn_scoped(scope, || syncer::run(shared, &wal));
        let checkpointer = named("log-checkpoint")
            .spawn_scoped(scope, move || checkpoint::run(shared, &checkpointing));
        match (syncer, checkpointer) {
            (Ok(_), Ok(_)) => match Tables::new(&connection, &shared.catalog, &ends) {
                Ok(tables) => writer::run(shared, &connection, options, tables),
                Err(error) => shared.fail("preparing to write", &error),
            },
            (Err(error), _) | (_, Err(error)) => shared.fail("starting the threads of", &error),
        }
        shared.syncs.close();
        shared.checkpoints.close();
    });
    shared.stop("it was closed");
    shared.disk.close();
    drop(connection);
    drop(lock);
}

/// Tells everybody if the writer panics: they would wait for ever.
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop("its writer has panicked");
        }
    }
}
