//! Standard output, where a reader that went away (`| head`) is no failure; and words to the user on standard error.

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

/// Says something to whoever started the process, where no log is written.
#[expect(clippy::print_stderr, reason = "logging may not have begun")]
pub(crate) fn notice(text: impl fmt::Display) {
    eprintln!("postrider: {text}");
}
