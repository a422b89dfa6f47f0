//! Standard output. A reader that went away (`| head`) is no failure.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Writes one line and flushes it, so that programs that wait for it see it at once.
pub(crate) fn line(text: impl fmt::Display) -> io::Result<()> {
    write(format_args!("{text}\n"))
}

/// Writes `text` as it is and flushes it.
pub(crate) fn write(text: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
