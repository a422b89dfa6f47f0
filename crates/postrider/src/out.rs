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

/// An error and its causes, each said once: many name their cause in words of their own.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        match said.is_empty() {
            true => cause,
            false if said.ends_with(&cause) => said,
            false => format!("{said}: {cause}"),
        }
    })
}

/// Says something to whoever started the process, where no log is written.
#[expect(clippy::print_stderr, reason = "logging may not have begun")]
pub(crate) fn notice(text: impl fmt::Display) {
    eprintln!("postrider: {text}");
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot use log.db: {0}")]
    struct Unusable(#[source] io::Error);

    #[test]
    fn a_cause_that_its_error_names_is_said_once() {
        let error = Err::<(), _>(Unusable(ErrorKind::IsADirectory.into()));
        let error = error.context("the log cannot be opened").unwrap_err();
        assert_eq!(
            causes(&error),
            "the log cannot be opened: cannot use log.db: is a directory"
        );
    }
}
