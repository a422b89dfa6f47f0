//! Postrider's API as plain JSON, as any program would speak it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// A client with a token.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    base: String,
    token: String,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body as JSON; as a string if it is none.
    pub body: Value,
    /// When to come back (`Retry-After`), in seconds, if it says so.
    pub retry_after: Option<u64>,
}

impl Answer {
    /// The body, if the status is 2xx.
    ///
    /// # Errors
    /// If it is another; the message holds the answer.
    pub fn ok(self) -> Result<Value> {
        let Self { status, body, .. } = self;
        ensure!((200..300).contains(&status), "answered {status}: {body}");
        Ok(body)
    }
}

impl Api {
    /// A client of the server at `base`, such as `http://127.0.0.1:8071`.
    ///
    /// # Errors
    /// If no client can be built.
    pub fn new(base: &str, token: &str) -> Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self {
            client,
            base: base.to_owned(),
            token: token.to_owned(),
        })
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// Sends one request with this raw body and content type.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer> {
        let sent = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("content-type", content_type)
            .body(body)
            .send();
        let response = sent.await.with_context(|| format!("calling {path}"))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|given| given.to_str().ok()?.parse().ok());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer {
            status,
            body,
            retry_after,
        })
    }

    /// Sends one request with this JSON.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        self.send(method, path, "application/json", body.to_string())
            .await
    }

    /// GET, whatever is answered.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn try_get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, "application/json", "").await
    }

    /// POST, whatever is answered.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.call(Method::POST, path, body).await
    }

    /// GET that must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.try_get(path).await?;
        answer.ok().with_context(|| format!("GET {path}"))
    }

    /// POST that must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.try_post(path, body).await?;
        answer.ok().with_context(|| format!("POST {path}"))
    }

    /// PATCH that must succeed.
    ///
    /// # Errors
    /// If it does not.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.call(Method::PATCH, path, body).await?;
        answer.ok().with_context(|| format!("PATCH {path}"))
    }

    /// Makes an application. Returns its id.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn create_app(&self, name: &str) -> Result<String> {
        id(&self.post("/api/v1/app", &json!({ "name": name })).await?)
    }

    /// Makes an endpoint from the fields in `spec`, which names at least the `url`. Returns its id.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn create_endpoint(&self, app: &str, spec: &Value) -> Result<String> {
        id(&self
            .post(&format!("/api/v1/app/{app}/endpoint"), spec)
            .await?)
    }

    /// The signing secret of an endpoint.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn secret(&self, app: &str, endpoint: &str) -> Result<String> {
        let path = format!("/api/v1/app/{app}/endpoint/{endpoint}/secret");
        let answer = self.get(&path).await?;
        let key = answer["key"].as_str();
        Ok(key.context("a secret without a key")?.to_owned())
    }

    /// Creates an event. Returns its id.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn publish(&self, app: &str, event_type: &str, payload: &Value) -> Result<String> {
        let body = json!({ "eventType": event_type, "payload": payload });
        id(&self.post(&format!("/api/v1/app/{app}/msg"), &body).await?)
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn metrics(&self) -> Result<String> {
        match self.get("/metrics").await? {
            Value::String(text) => Ok(text),
            other => Ok(other.to_string()),
        }
    }
}

fn id(created: &Value) -> Result<String> {
    let id = created["id"].as_str();
    Ok(id
        .with_context(|| format!("no id in {created}"))?
        .to_owned())
}
