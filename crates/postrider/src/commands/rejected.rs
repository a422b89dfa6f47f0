//! `postrider rejected`: what was set aside, asked of a running server.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;

use super::server::{Credentials, Server, next, reached};
use crate::data_dir::Address;
use crate::{data_dir, out};

/// Where a server listens that is not told otherwise.
const USUAL: &str = "http://127.0.0.1:8071";

/// Records that could not be taken as events: list them, or have them judged again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Where the API is; without it, where the server of --data listens, or http://127.0.0.1:8071
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The data directory of a running server, which says where that listens, and holds an operator's token
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    credentials: Credentials,
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
        let api = Rejected::new(args)?;
        match &args.what {
            What::List { limit, json } => api.list(*limit, *json).await,
            What::Retry { all: true, .. } => api.retry_all().await,
            What::Retry { ids, .. } => api.retry(ids).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn url(args: &Args) -> anyhow::Result<String> {
    match (&args.url, &args.data) {
        (Some(url), _) => Ok(url.clone()),
        (None, None) => Ok(USUAL.to_owned()),
        (None, Some(data)) => {
            // Not the usual one: who listens there may be somebody else, and would be given the token.
            let address = Address::of_running(data).with_context(|| {
                format!(
                    "no server that runs says in {} where it listens: give --url",
                    data.display()
                )
            })?;
            Ok(format!("http://{}", reached(address)))
        }
    }
}

struct Rejected(Server);

impl Rejected {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let token = match (args.credentials.token()?, &args.data) {
            (None, Some(data)) => {
                data_dir::read_token(data)?.map(|token| token.expose().to_owned())
            }
            (given, _) => given,
        };
        let Some(token) = token else {
            bail!(
                "whose request is it? Give a data directory with an operator's token by --data, or the token by \
                 --token-file or POSTRIDER_TOKEN"
            );
        };
        Ok(Self(Server::new(&url(args)?, &token)?))
    }

    async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        self.0.ask(method, &format!("/rejected{path}"), None).await
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
