//! `postrider metrics`

use std::process::ExitCode;

use crate::{declared, out};

pub(super) fn run() -> anyhow::Result<ExitCode> {
    out::write(declared::markdown()?)?;
    Ok(ExitCode::SUCCESS)
}
