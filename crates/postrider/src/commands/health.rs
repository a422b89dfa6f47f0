//! `postrider health`: asks a running server, where there is neither a shell nor curl.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Sources;
use super::server::reached;
use crate::config::Config;
use crate::{config, out, shown};

/// Longer than a server takes to answer that it is not ready.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of an answer, in characters.
const SHOWN: usize = 2_000;

/// Asks whether the server is ready, and prints what it says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Parts that it need not have to be well, such as space,store: for whoever acts on the answer, and would take away
    /// what goes on without them
    #[arg(long, value_name = "PART,…", conflicts_with = "url")]
    without: Option<String>,
    /// What to ask instead of /health/ready of the server that this configuration starts
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => of(
            &config::load(&args.sources.flags())?,
            args.without.as_deref(),
        ),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(ask(&url))?;
    Ok(ExitCode::SUCCESS)
}

/// The server knows its parts, and refuses what is none.
fn of(config: &Config, without: Option<&str>) -> String {
    let listens = config.admin.listen.unwrap_or(config.listen);
    let asked = without.map(|parts| format!("?without={parts}"));
    format!(
        "http://{}/health/ready{}",
        reached(listens),
        asked.unwrap_or_default()
    )
}

async fn ask(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
    let response = client.build()?.get(url).send().await;
    let response = response.with_context(|| format!("{url} was not answered"))?;
    let status = response.status();
    let text = response.text().await?;
    let text = shown::inline(&text, SHOWN);
    if !status.is_success() {
        bail!("{url} was answered with {status}: {text}");
    }
    out::line(if text.is_empty() {
        status.to_string()
    } else {
        text
    })?;
    Ok(())
}
