//! The unit of CPU: a loop that signs and sends, and does nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use postrider_testkit::{cpu_seconds, sign};
use serde::{Deserialize, Serialize};

use crate::children::run_child;

/// What the loop used.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Bare {
    pub(crate) cpu_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) count: u64,
}

impl Bare {
    /// Runs it in a process of its own.
    pub(crate) async fn measure(url: &str, count: u64) -> Result<Self> {
        run_child(&["bare", url, &count.to_string()]).await
    }

    /// CPU for one request, in µs.
    pub(crate) fn us_each(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let count = self.count as f64;
        self.cpu_seconds * 1e6 / count
    }
}

/// Connections to the receiver.
const CONNECTIONS: usize = 64;
/// Bytes of a payload.
const PAYLOAD: usize = 1024;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The loop's process.
#[expect(clippy::print_stdout, reason = "tells its parent what it used")]
pub(crate) async fn run(url: &str, count: u64) -> Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(CONNECTIONS)
        .build()?;
    // Connections are made before the clock runs, as the server's are by its warm-up.
    send(&client, url, CONNECTIONS as u64).await?;
    let (cpu, began) = (cpu_seconds(std::process::id())?, std::time::Instant::now());
    send(&client, url, count).await?;
    let bare = Bare {
        cpu_seconds: cpu_seconds(std::process::id())? - cpu,
        seconds: began.elapsed().as_secs_f64(),
        count,
    };
    println!("{}", serde_json::to_string(&bare)?);
    Ok(())
}

async fn send(client: &reqwest::Client, url: &str, count: u64) -> Result<()> {
    let payload = bytes::Bytes::from(vec![b'x'; PAYLOAD]);
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, url, payload) = (client.clone(), url.to_owned(), payload.clone());
        let next = Arc::clone(&next);
        senders.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, anyhow::Error>(());
                }
                let (id, timestamp) = (format!("msg_{number}"), "1614265330");
                let signature = sign(SECRET, &id, timestamp, &payload).context("signing")?;
                let sent = client
                    .post(&url)
                    .header("content-type", "application/json")
                    .header("webhook-id", id)
                    .header("webhook-timestamp", timestamp)
                    .header("webhook-signature", format!("v1,{signature}"))
                    .body(payload.clone())
                    .send();
                let response = sent.await?;
                ensure!(response.status().is_success(), "the receiver refused");
                response.bytes().await?;
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}
