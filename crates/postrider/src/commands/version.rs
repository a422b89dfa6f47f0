//! `postrider version`

use std::process::ExitCode;

use crate::out;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    out::line(format_args!("postrider {}", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}
