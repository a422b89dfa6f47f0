//! What the broker itself costs: a record there and back, with nothing of ours in between.

use anyhow::{Context, Result, ensure};

use super::required;

const ROUND_TRIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/RoundTrip.java");

/// How long a record takes through the broker at `address`, with nothing of ours in between: p50 and p99 in µs, at
/// `rate` a second for `seconds`, after `warm_up` seconds that do not count. Creates `topic`.
///
/// # Errors
/// If the jars are missing, or it fails; the message holds what it said.
pub async fn bare_round_trip(
    address: &str,
    topic: &str,
    rate: u64,
    (warm_up, seconds): (u64, u64),
) -> Result<(u64, u64)> {
    let jars = required("POSTRIDER_TEST_KAFKA_JARS")?;
    let output = tokio::process::Command::new("java")
        .args(["-cp", &format!("{jars}/*"), ROUND_TRIP, address, topic])
        .args([rate, warm_up, seconds].map(|number| number.to_string()))
        .kill_on_drop(true)
        .output()
        .await
        .context("starting java")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the bare round trip failed: {said}"
    );
    let printed = String::from_utf8(output.stdout)?;
    let (p50, p99) = printed
        .trim()
        .split_once(' ')
        .with_context(|| format!("no two figures: {printed}"))?;
    Ok((p50.parse()?, p99.parse()?))
}
