//! The server's API, as any program would call it: HTTP and JSON.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

use super::server::Server;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A client with the operator's token.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    url: String,
    token: String,
}

impl Api {
    pub(super) fn new(server: &Server) -> anyhow::Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .tcp_nodelay(true)
            .build()?;
        Ok(Self {
            client,
            url: server.url().to_owned(),
            token: server.token()?,
        })
    }

    /// `GET path`; an answer other than 200 is an error.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.client.get(format!("{}{path}", self.url));
        self.answer(request, path).await
    }

    /// `POST path` with a JSON body; an answer other than 2xx is an error.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).json(body);
        self.answer(request, path).await
    }

    /// Publishes one event of `application`. `Ok(None)`: it was not accepted, try again.
    pub(super) async fn publish(&self, application: &str, body: String) -> Option<String> {
        let url = format!("{}/api/v1/app/{application}/msg", self.url);
        let request = self
            .client
            .post(url)
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(body);
        let response = request.send().await.ok()?;
        if response.status() != StatusCode::ACCEPTED {
            return None;
        }
        let answer: Value = response.json().await.ok()?;
        answer["id"].as_str().map(str::to_owned)
    }

    async fn answer(&self, request: RequestBuilder, path: &str) -> anyhow::Result<Value> {
        let response = request
            .bearer_auth(&self.token)
            .send()
            .await
            .with_context(|| format!("{path} was not answered"))?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{path} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path} was not answered in JSON"))
    }
}

/// A text in an answer.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value[field]
        .as_str()
        .with_context(|| format!("the answer has no {field}: {value}"))
}
