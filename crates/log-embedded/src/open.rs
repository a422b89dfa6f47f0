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
use crate::{OpenError, Options, checkpoint, lock, sizes, syncer, writer};

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
    /// `log.db` itself, to sync it.
    database: File,
    wal: File,
    lock: Arc<File>,
    ends: Vec<TopicEnds>,
}

pub(crate) fn open(options: Options) -> Result<(Arc<Shared>, Threads), OpenError> {
    let (shared, files) = prepare(&options)?;
    let threads = start(Arc::clone(&shared), files, options)?;
    Ok((shared, threads))
}

/// Everything but the threads.
fn prepare(options: &Options) -> Result<(Arc<Shared>, Files), OpenError> {
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
    let (topics, limit) = ((catalog.specs(), catalog.sql()), options.record_bytes);
    sizes::check(&connection, &file, topics, &progress, limit)?;
    sizes::remember(&connection, &file, limit)?;
    let files = Files {
        checkpointing: checkpoint::connect(&file).map_err(&failed)?,
        database: open_there(&file)?,
        wal: open_there(&wal)?,
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
    Ok((Arc::new(Shared::new(parts, options)), files))
}

/// A file that is there since the schema was written. Never created here.
fn open_there(path: &Path) -> Result<File, OpenError> {
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
        database,
        wal,
        lock,
        ends,
    } = files;
    thread::scope(|scope| {
        let _guard = PanicGuard(shared, "writer");
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let syncer = named("log-syncer").spawn_scoped(scope, || {
            let _guard = PanicGuard(shared, "syncer");
            syncer::run(shared, &wal);
        });
        let database = &database;
        let checkpointer = named("log-checkpoint").spawn_scoped(scope, move || {
            let _guard = PanicGuard(shared, "checkpointer");
            checkpoint::run(shared, &checkpointing, database);
        });
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
    // Closing it gives away the locks that SQLite has on it, so it is closed after the connections.
    drop(database);
    drop(lock);
}

/// Tells everybody if one of the threads panics: the others, and whoever asked them, would wait for ever.
struct PanicGuard<'a>(&'a Shared, &'static str);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(&format!("its {} has panicked", self.1));
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_log::{
        BatchLimit, Durability, Group, Keep, Log, LogError, NewRecord, Purpose, Subscription,
        Topic, TopicSpec,
    };

    use super::*;
    use crate::{EmbeddedLog, LogMetrics};

    const TOPIC: Topic = Topic("t");
    const GROUP: Group = Group("g");

    fn options(dir: &Path) -> Options {
        let metrics = LogMetrics::register(&postrider_metrics::Registry::new()).unwrap();
        let keep = Keep::UntilFinished(&[GROUP]);
        Options::new(dir, vec![TopicSpec { topic: TOPIC, keep }], metrics)
    }

    async fn append(log: &EmbeddedLog, durability: Durability) -> Result<(), LogError> {
        let record = NewRecord::new(TOPIC, "k", "v");
        let appended = log.append(vec![record], durability, Purpose::Intake).await;
        appended.map(drop)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_thread_has_panicked_the_log_stops_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, files) = prepare(&options(dir.path())).unwrap();
        let threads = start(Arc::clone(&shared), files, options(dir.path())).unwrap();
        let log = EmbeddedLog::of(Arc::clone(&shared), threads);
        append(&log, Durability::Synced).await.unwrap();
        let panicked = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let _guard = PanicGuard(&shared, "checkpointer");
                panic!("a test of what follows");
            }
        });
        assert!(panicked.join().is_err());
        // The writer waits for the checkpointer in here.
        shared.checkpoints.finish(checkpoint::Whole::Restart);
        let failed = append(&log, Durability::Synced).await;
        let Err(LogError::Stopped(reason)) = failed else {
            panic!("{failed:?}")
        };
        assert!(reason.contains("checkpointer has panicked"), "{reason}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_failed_fsync_the_log_stops_tells_everybody_and_tries_nothing_again() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        let metrics = options.metrics.clone();
        let (shared, mut files) = prepare(&options).unwrap();
        // A device that cannot be synced.
        files.wal = OpenOptions::new().write(true).open("/dev/null").unwrap();
        let threads = start(Arc::clone(&shared), files, options).unwrap();
        let log = EmbeddedLog::of(shared, threads);
        let (mut reader, committer) = log.subscribe(Subscription::to(GROUP, TOPIC)).await.unwrap();
        let limit = BatchLimit {
            records: 1,
            bytes: 1,
        };
        let assigned = reader.next(limit).await.unwrap();
        let postrider_log::Polled::Assigned(assigned) = assigned else {
            panic!("{assigned:?}")
        };
        let reading = tokio::spawn(async move { reader.next(limit).await });

        let failed = append(&log, Durability::Synced).await;
        let Err(LogError::Stopped(reason)) = failed else {
            panic!("{failed:?}")
        };
        assert!(
            reason.contains("fsync") && reason.contains("log.db"),
            "{reason}"
        );
        assert!(matches!(reading.await.unwrap(), Err(LogError::Stopped(_))));
        assert!(matches!(
            append(&log, Durability::Ordered).await,
            Err(LogError::Stopped(_))
        ));
        assert!(matches!(log.sync().await, Err(LogError::Stopped(_))));
        assert!(matches!(log.ends(TOPIC).await, Err(LogError::Stopped(_))));
        assert!(!committer.holds(assigned[0].at));
        assert_eq!(metrics.fsync_seconds.count(), 0);
        assert_eq!(metrics.stopped.get(), 1);
    }
}
