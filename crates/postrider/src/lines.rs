//! Standard error, written by a thread of its own: whoever logs never waits for who reads it.
//!
//! A pipe whose reader has stopped would otherwise stop the runtime's threads and the log's writer, one line each.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Bytes of lines that wait, at most; what comes on top is dropped.
const MOST_BYTES: usize = 4 << 20;

/// How long the end of the process waits for lines that nobody reads.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the process writes to, once it has begun to log.
static STARTED: OnceLock<Lines> = OnceLock::new();

/// Lines on their way.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// Told of a line that came.
    came: Condvar,
    /// Told of every time that nothing is left.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Of `waiting`.
    bytes: usize,
    /// What was taken is not written yet.
    writing: bool,
    /// Lines dropped of which nothing was said yet.
    untold: u64,
    dropped: u64,
}

impl Lines {
    /// The lines of this process, which a thread writes to standard error.
    pub(crate) fn start() -> io::Result<Self> {
        let lines = Self(Arc::default());
        let writer = lines.clone();
        std::thread::Builder::new()
            .name("logging".to_owned())
            .spawn(move || writer.write_to(io::stderr()))?;
        Ok(STARTED.get_or_init(|| lines).clone())
    }

    /// Writes what comes, for as long as the process runs.
    fn write_to(&self, mut out: impl Write) {
        loop {
            let (text, untold) = self.take();
            // Where nobody reads there is nobody to tell.
            let _ = out.write_all(&text);
            self.written();
            if untold > 0 {
                tracing::warn!(
                    lines = untold,
                    "lines were not logged: standard error was not read as fast as they came"
                );
            }
        }
    }

    /// Waits for lines, and takes all.
    fn take(&self) -> (Vec<u8>, u64) {
        let state = self.state();
        let is_empty = |state: &mut State| state.waiting.is_empty();
        let mut state =
            (self.0.came.wait_while(state, is_empty)).unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        state.bytes = 0;
        let text = std::mem::take(&mut state.waiting)
            .into_iter()
            .flatten()
            .collect();
        (text, std::mem::take(&mut state.untold))
    }

    fn written(&self) {
        let mut state = self.state();
        state.writing = false;
        if state.waiting.is_empty() {
            self.0.emptied.notify_all();
        }
    }

    /// Waits until all is written; false if it is not within `patience`.
    fn flush(&self, patience: Duration) -> bool {
        let state = self.state();
        let is_left = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.0.emptied.wait_timeout_while(state, patience, is_left);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    // A panic in here leaves nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Lines {
    /// Takes a line, whole, or drops it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.bytes + line.len() > MOST_BYTES {
            state.untold += 1;
            state.dropped += 1;
        } else {
            state.bytes += line.len();
            state.waiting.push_back(line.to_vec());
            self.0.came.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// At the end of the process: waits for its last lines, a moment only. False if nobody reads them.
pub(crate) fn finish() -> bool {
    STARTED.get().is_none_or(|lines| lines.flush(PATIENCE))
}

/// Lines dropped since the start.
pub(crate) fn dropped() -> u64 {
    STARTED.get().map_or(0, |lines| lines.state().dropped)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A pipe of which each line is read when the test says so.
    struct Read(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Read {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(text.to_vec()).map_err(io::Error::other)?;
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Lines that are written to a pipe, what reads it, and what has come out.
    fn lines() -> (Lines, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let (reads, is_read) = mpsc::channel();
        let (came_out, comes) = mpsc::channel();
        let lines = Lines(Arc::default());
        let writer = lines.clone();
        std::thread::spawn(move || writer.write_to(Read(is_read, came_out)));
        (lines, reads, comes)
    }

    #[test]
    fn lines_come_out_whole_and_in_their_order() {
        let (mut lines, reads, comes) = lines();
        let mut expected = String::new();
        for n in 0..1_000 {
            let line = format!("line {n}\n");
            expected.push_str(&line);
            assert_eq!(lines.write(line.as_bytes()).unwrap(), line.len());
        }
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            reads.send(()).unwrap();
            seen.extend(comes.recv().unwrap());
        }
        assert_eq!(String::from_utf8(seen).unwrap(), expected);
        assert!(lines.flush(Duration::from_secs(60)));
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up_and_no_more_memory_than_may_be() {
        let (mut lines, reads, comes) = lines();
        let line = vec![b'x'; 1 << 10];
        for _ in 0..(MOST_BYTES >> 10) * 4 {
            lines.write_all(&line).unwrap();
        }
        assert!(lines.state().bytes <= MOST_BYTES);
        // What was taken before the rest came was no more than may wait, either.
        let dropped = usize::try_from(lines.state().dropped).unwrap();
        assert!(dropped >= (MOST_BYTES >> 10) * 2, "{dropped}");
        assert!(!lines.flush(Duration::from_millis(20)));
        drop(reads);
        drop(comes);
        assert!(
            lines.flush(Duration::from_secs(60)),
            "nobody waits for ever"
        );
    }
}
