//! Fails when a crate depends on one that it must not: `make layers`.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use postrider_testkit::layers;

fn main() -> Result<ExitCode> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo: is it in the PATH?")?;
    ensure!(
        output.status.success(),
        "`cargo metadata` failed: run this inside the workspace"
    );

    let workspace = layers::parse(&output.stdout).context("reading what cargo metadata printed")?;
    let faults = layers::faults(&workspace);
    for fault in &faults {
        eprintln!("layers: {fault}");
    }
    if faults.is_empty() {
        let edges: usize = workspace.iter().map(|one| one.dependencies.len()).sum();
        eprintln!(
            "layers: {} crates with {edges} dependencies keep the direction",
            workspace.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "layers: {} dependencies go against the direction",
        faults.len()
    );
    Ok(ExitCode::FAILURE)
}
