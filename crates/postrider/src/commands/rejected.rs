//! `postrider rejected`: what was set aside, asked of a running server.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;

use crate::out;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Records that could not be taken as events: list them, or have them judged again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Where the API is
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8071"
    )]
    url: String,
    /// A file that holds an operator's token, as DIR/operator.token does
    #[arg(long, global = true, value_name = "FILE", env = "POSTRIDER_TOKEN_FILE")]
    token_file: Option<std::path::PathBuf>,
    /// An operator's token
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "POSTRIDER_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print them, oldest first: id, time, where each lay, and why it was set aside
    List {
        /// The most to print
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print each as one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Have them judged again as they were received, once what was wrong is put right
    Retry {
        /// Which; see `list`
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let api = Api::new(args)?;
        match &args.what {
            What::List { limit, json } => api.list(*limit, *json).await,
            What::Retry { all: true, .. } => api.retry_all().await,
            What::Retry { ids, .. } => api.retry(ids).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let token = match (&args.token, &args.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(file)) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?,
            (None, None) => bail!(
                "whose request is it? Give an operator's token by --token-file DIR/operator.token, or POSTRIDER_TOKEN"
            ),
        };
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        Ok(Self {
            client: client.build()?,
            base: format!("{}/api/v1/rejected", args.url.trim_end_matches('/')),
            token: token.trim().to_owned(),
        })
    }

    async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.base);
        let request = self.client.request(method, &url).bearer_auth(&self.token);
        let response = request.send().await;
        let response = response.with_context(|| format!("{url} was not answered"))?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{url} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{url} was not answered in JSON"))
    }

    async fn list(&self, limit: usize, json: bool) -> anyhow::Result<()> {
        let (mut left, mut behind) = (limit, String::new());
        while left > 0 {
            let page = self
                .ask(Method::GET, &format!("?limit={}{behind}", left.min(250)))
                .await?;
            let data = page["data"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            for one in data {
                out::write(format!(
                    "{}\n",
                    if json { one.to_string() } else { line(one) }
                ))?;
            }
            left -= data.len().min(left);
            match next(&page) {
                Some(next) => behind = next,
                None => break,
            }
        }
        Ok(())
    }

    async fn retry(&self, ids: &[String]) -> anyhow::Result<()> {
        for id in ids {
            self.ask(Method::POST, &format!("/{id}/retry")).await?;
            out::write(format!("{id} is judged again\n"))?;
        }
        Ok(())
    }

    async fn retry_all(&self) -> anyhow::Result<()> {
        let (mut retried, mut skipped, mut behind) = (0, 0, String::new());
        loop {
            let path = format!("/retry?limit=250{behind}");
            let page = self.ask(Method::POST, &path).await?;
            retried += page["retried"].as_u64().unwrap_or_default();
            skipped += page["skipped"].as_u64().unwrap_or_default();
            match next(&page) {
                Some(next) => behind = next,
                None => break,
            }
        }
        out::write(format!("{retried} are judged again; {skipped} cannot be\n"))?;
        Ok(())
    }
}

/// Where the next page begins, if there is one.
fn next(page: &Value) -> Option<String> {
    let iterator = page["iterator"].as_str()?;
    (page["done"] != true).then(|| format!("&iterator={iterator}"))
}

fn line(one: &Value) -> String {
    let text = |field: &str| one[field].as_str().unwrap_or("-");
    format!(
        "{}  {}  {}  {}",
        text("id"),
        text("rejectedAt"),
        text("origin"),
        text("reason").replace(['\n', '\r'], " ")
    )
}
