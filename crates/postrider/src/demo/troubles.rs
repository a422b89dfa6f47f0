//! The scenes of the endpoints that fail: one recovers by itself, one is repaired.

use std::time::Instant;

use anyhow::bail;
use serde_json::{Value, json};

use super::Stage;
use super::api::text;
use super::customers::{APPLICATION, Endpoint, FAILURES};
use super::scenes::{LOOK_EVERY, PATIENCE};

/// The endpoint that fails and recovers.
pub(super) async fn retry(stage: &mut Stage, id: &str) -> anyhow::Result<()> {
    stage
        .screen
        .scene(3, "An endpoint that fails and recovers: billing")?;
    let arrived = until_arrived(&stage.customers.billing, id).await;
    let attempts = attempts_of(stage, id, usize::try_from(FAILURES)? + 1).await?;
    show_attempts(stage, &attempts)?;
    let last_good = attempts
        .last()
        .is_some_and(|attempt| attempt["responseStatusCode"] == 204);
    stage.screen.promise(
        arrived && last_good,
        "it was tried again until it was delivered, on schedule, through the kill",
    )?;
    let one_id = stage.customers.billing.seen().ids.len() == 1;
    stage.screen.promise(
        one_id,
        format_args!("every attempt had the same webhook-id, {id}"),
    )?;
    Ok(())
}

/// The endpoint that stays down until it is repaired.
pub(super) async fn bury_and_replay(stage: &mut Stage, id: &str) -> anyhow::Result<()> {
    stage.screen.scene(
        4,
        "An endpoint that stays down: a dead letter, and its replay: legacy",
    )?;
    let letter = dead_letter(stage, id).await?;
    let attempts = attempts_of(stage, id, 4).await?;
    show_attempts(stage, &attempts)?;
    let letter_id = text(&letter, "id")?.to_owned();
    stage.screen.say(format_args!(
        "GET  /api/v1/dead-letter  {letter_id}: {}",
        letter["reason"].as_str().unwrap_or("?")
    ))?;
    stage.customers.legacy.repair();
    let replay = stage
        .api
        .post("/api/v1/replay", &json!({"deadLetterIds": [letter_id]}))
        .await?;
    stage.screen.say(format_args!(
        "POST /api/v1/replay       {}: the endpoint was repaired",
        text(&replay, "id")?
    ))?;
    let arrived = until_arrived(&stage.customers.legacy, id).await;
    let one_id = stage.customers.legacy.seen().ids.len() == 1;
    stage.screen.promise(
        arrived,
        "what was given up was kept, and arrived when it was asked for again",
    )?;
    stage.screen.promise(
        one_id,
        format_args!("it came with the webhook-id that it always had, {id}"),
    )?;
    Ok(())
}

async fn until_arrived(endpoint: &Endpoint, id: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !endpoint.seen().first.contains_key(id) {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

/// The attempts of an event, oldest first, once there are `count` in the history.
async fn attempts_of(stage: &Stage, id: &str, count: usize) -> anyhow::Result<Vec<Value>> {
    let path = format!("/api/v1/app/{APPLICATION}/attempt/msg/{id}?limit=50");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = stage.api.get(&path).await?;
        let mut attempts = answer["data"].as_array().cloned().unwrap_or_default();
        if attempts.len() >= count || Instant::now() > deadline {
            attempts.sort_by_key(timestamp);
            return Ok(attempts);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn show_attempts(stage: &Stage, attempts: &[Value]) -> anyhow::Result<()> {
    let first = attempts.first().and_then(timestamp);
    for (number, attempt) in attempts.iter().enumerate() {
        let after = timestamp(attempt)
            .zip(first)
            .map_or(0.0, |(at, first)| at.duration_since(first).as_secs_f64());
        stage.screen.say(format_args!(
            "attempt {}  +{after:>5.2} s  answered {} after {} ms",
            number + 1,
            attempt["responseStatusCode"],
            attempt["responseDurationMs"]
        ))?;
    }
    Ok(())
}

fn timestamp(attempt: &Value) -> Option<jiff::Timestamp> {
    attempt["timestamp"].as_str()?.parse().ok()
}

/// The dead letter of an event, once it is there.
async fn dead_letter(stage: &Stage, id: &str) -> anyhow::Result<Value> {
    let path = format!(
        "/api/v1/dead-letter?endpoint_id={}",
        stage.customers.legacy.id
    );
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = stage.api.get(&path).await?;
        let letters = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(letter) = letters.iter().find(|letter| letter["msgId"] == id) {
            return Ok(letter.clone());
        }
        if Instant::now() > deadline {
            bail!(
                "no dead letter of {id} came within {} s",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
