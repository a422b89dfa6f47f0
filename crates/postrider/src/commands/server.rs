//! A running server, asked over its API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Whose request it is.
#[derive(Debug, clap::Args)]
pub(super) struct Credentials {
    /// A file that holds an operator's token, as DIR/operator.token does
    #[arg(long, global = true, value_name = "FILE", env = "POSTRIDER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
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

impl Credentials {
    /// The token that was given, if one was.
    pub(super) fn token(&self) -> anyhow::Result<Option<String>> {
        Ok(match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => Some(
                std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?,
            ),
            (None, None) => None,
        })
    }
}

/// A server at a base URL, and a token that opens it.
pub(super) struct Server {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Server {
    pub(super) fn new(url: &str, token: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        Ok(Self {
            client: client.build()?,
            base: format!("{}/api/v1", url.trim_end_matches('/')),
            token: token.trim().to_owned(),
        })
    }

    /// The answer in JSON to a request below `/api/v1`.
    ///
    /// # Errors
    /// If there is none, it says no, or it is not JSON.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, &url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await;
        let response = response.with_context(|| format!("{url} was not answered"))?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{url} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{url} was not answered in JSON"))
    }
}

/// Who listens everywhere is found on this machine.
pub(super) fn reached(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Where the page behind this one begins, if there is one.
pub(super) fn next(page: &Value) -> Option<String> {
    let iterator = page["iterator"].as_str()?;
    (page["done"] != true).then(|| format!("&iterator={iterator}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_this_machine() {
        for (listens, asked) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.0.0.7:8071", "10.0.0.7:8071"),
        ] {
            assert_eq!(reached(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
