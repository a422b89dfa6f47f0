//! Where the tokens are: in a store that nobody has open, or behind a server that has it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use postrider_access::Token;
use postrider_http::application_ref;
use postrider_metrics::Registry as Metrics;
use postrider_model::{AppId, Clock, SystemClock, Timestamp, TokenId};
use postrider_store::{ApplicationRef, Store, TokenRecord, TokenScope, all_tokens, revoke_token};
use postrider_store_sql::{OpenError, StoreMetrics};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::server::{Credentials, Server, next, reached};
use crate::config::{Config, StoreUrl};
use crate::data_dir::Address;
use crate::{data_dir, options};

/// How a running server is reached.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    /// Ask the server there. Without it the store is opened, or where a running server has it, that is asked
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
}

/// What a token is to be.
pub(super) struct New<'a> {
    pub(super) name: &'a str,
    /// By id or uid; none: an operator's.
    pub(super) application: Option<&'a str>,
    /// In whole seconds; none: until it is revoked.
    pub(super) lifetime: Option<Duration>,
}

/// Where the tokens are.
pub(super) enum Kept {
    Store(Arc<dyn Store>),
    Server(Server),
}

impl Kept {
    pub(super) async fn open(config: &Config, reach: &Reach) -> anyhow::Result<Self> {
        if let Some(url) = &reach.url {
            return server(config, reach, url);
        }
        let file = match &config.store.url {
            StoreUrl::InDataDirectory => Some(config.data.join("store.db")),
            StoreUrl::Sqlite(path) => Some(path.clone()),
            StoreUrl::Postgres(_) => None,
        };
        if let Some(file) = file.filter(|file| !file.exists()) {
            bail!(
                "there is no store at {} yet: the first start of the server makes it, and a token in {}",
                file.display(),
                data_dir::token_file(&config.data).display()
            );
        }
        let metrics = StoreMetrics::register(&Metrics::new())?;
        let url = options::store_url(config);
        match postrider_store_sql::open_with(&url, options::postgres(config), metrics).await {
            // SQLite belongs to one process.
            Err(OpenError::InUse { .. }) => {
                // Not where `listen` says: who listens there may be somebody else, and would be given the token.
                let address = Address::read(&config.data).with_context(|| {
                    format!(
                        "a running server has the store, and {} does not say where it listens: give --url",
                        config.data.display()
                    )
                })?;
                server(config, reach, &format!("http://{}", reached(address)))
            }
            opened => Ok(Self::Store(opened?)),
        }
    }

    /// Makes a token.
    pub(super) async fn create(&self, new: &New<'_>) -> anyhow::Result<Token> {
        TokenRecord::check_name(new.name).map_err(|why| anyhow!("--name: {why}"))?;
        let store = match self {
            Self::Store(store) => store.as_ref(),
            Self::Server(server) => {
                let lifetime = new.lifetime.map(|lifetime| lifetime.as_secs());
                let body = json!({
                    "name": new.name,
                    "applicationId": new.application,
                    "expiresInSeconds": lifetime,
                });
                let made = asked(server, Method::POST, "/token", Some(&body)).await?;
                let token = made["token"].as_str().context("the answer has no token")?;
                return token.parse().context("the answer has no token");
            }
        };
        let scope = match new.application {
            None => TokenScope::Operator,
            Some(given) => TokenScope::Application(app_id(store, given).await?),
        };
        let token = Token::generate();
        let hash = *token.hash().as_bytes();
        let record = TokenRecord::new(hash, scope, new.name.to_owned(), SystemClock.now());
        let record = record.lasting(new.lifetime);
        let stored = store.insert_token(&record).await;
        stored.context("cannot store the token")?;
        Ok(token)
    }

    /// A line for each.
    pub(super) async fn list(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Store(store) => {
                let tokens = all_tokens(store.as_ref()).await;
                let tokens = tokens.context("cannot read the tokens")?;
                let (mut lines, mut uids) = (Vec::new(), HashMap::new());
                for token in &tokens {
                    if let TokenScope::Application(app) = token.scope
                        && let Entry::Vacant(unknown) = uids.entry(app.to_string())
                    {
                        // What the application is called helps to find a token; the list is there without it.
                        let found = store.application(&ApplicationRef::Id(app)).await;
                        let uid = found.ok().flatten().and_then(|app| app.uid);
                        unknown.insert(uid.map(|uid| uid.to_string()));
                    }
                    lines.push(stored_line(token, &uids));
                }
                Ok(lines)
            }
            Self::Server(server) => {
                let (mut lines, mut behind) = (Vec::new(), String::new());
                let mut uids = HashMap::new();
                loop {
                    let path = format!("/token?limit=250{behind}");
                    let page = asked(server, Method::GET, &path, None).await?;
                    let data = page["data"].as_array().context("the answer has no data")?;
                    for token in data {
                        if let Some(app) = token["applicationId"].as_str()
                            && let Entry::Vacant(unknown) = uids.entry(app.to_owned())
                        {
                            // One that was deleted has none any more.
                            let found = server.ask(Method::GET, &format!("/app/{app}"), None).await;
                            let uid = |found: Value| found["uid"].as_str().map(str::to_owned);
                            unknown.insert(found.ok().and_then(uid));
                        }
                        lines.push(shown_line(token, &uids));
                    }
                    match next(&page) {
                        Some(next) => behind = next,
                        None => return Ok(lines),
                    }
                }
            }
        }
    }

    /// Takes a token back. Servers that run hear of it within two seconds.
    pub(super) async fn revoke(&self, id: TokenId) -> anyhow::Result<()> {
        let store = match self {
            Self::Store(store) => store,
            Self::Server(server) => {
                let path = format!("/token/{id}/revoke");
                return asked(server, Method::POST, &path, None).await.map(drop);
            }
        };
        let revoked = revoke_token(store.as_ref(), id, SystemClock.now()).await;
        let revoked = revoked.context("cannot store that the token is revoked")?;
        revoked.with_context(|| {
            format!("there is no token {id}; `postrider token list` names those that there are")
        })?;
        Ok(())
    }

    pub(super) async fn close(self) {
        if let Self::Store(store) = self {
            store.close().await;
        }
    }
}

fn server(config: &Config, reach: &Reach, url: &str) -> anyhow::Result<Kept> {
    let token = match reach.credentials.token()? {
        Some(token) => token,
        None => match data_dir::read_token(&config.data)? {
            Some(token) => token.expose().to_owned(),
            None => bail!(
                "the server is to be asked, and {} is not there: give an operator's token by --token-file or \
                 POSTRIDER_TOKEN",
                data_dir::token_file(&config.data).display()
            ),
        },
    };
    Ok(Kept::Server(Server::new(url, &token)?))
}

async fn asked(
    server: &Server,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let asked = server.ask(method, path, body).await;
    asked.context("the server that has the store was asked (--url says where it is)")
}

/// The application that an id or a uid names.
async fn app_id(store: &dyn Store, given: &str) -> anyhow::Result<AppId> {
    let found = match application_ref(given) {
        Some(by) => store.application(&by).await,
        None => Ok(None),
    };
    let found = found.context("cannot look the application up")?;
    let found = found.with_context(|| {
        format!(
            "--application: there is no application {given}; its id (app_…) or its uid is expected"
        )
    })?;
    Ok(found.id)
}

/// The uids of applications that have one, by their ids.
type Uids = HashMap<String, Option<String>>;

fn stored_line(token: &TokenRecord, uids: &Uids) -> String {
    let scope = match token.scope {
        TokenScope::Operator => None,
        TokenScope::Application(app) => Some(app.to_string()),
    };
    let (id, made) = (token.id.to_string(), token.created_at.to_string());
    let state = state(token.revoked_at.is_some(), token.expires_at);
    line(&id, scope.as_deref(), uids, state, &made, &token.name)
}

fn shown_line(token: &Value, uids: &Uids) -> String {
    let text = |field: &str| token[field].as_str();
    let expires_at = Timestamp::deserialize(&token["expiresAt"]).ok();
    line(
        text("id").unwrap_or_default(),
        text("applicationId"),
        uids,
        state(text("revokedAt").is_some(), expires_at),
        text("createdAt").unwrap_or_default(),
        text("name").unwrap_or_default(),
    )
}

/// Whether it opens anything.
fn state(revoked: bool, expires_at: Option<Timestamp>) -> &'static str {
    match expires_at {
        _ if revoked => "revoked",
        Some(at) if at <= SystemClock.now() => "expired",
        _ => "good",
    }
}

fn line(id: &str, app: Option<&str>, uids: &Uids, state: &str, made: &str, name: &str) -> String {
    let uid = app.and_then(|app| uids.get(app)?.as_deref());
    let scope = match (app, uid) {
        (None, _) => "operator".to_owned(),
        (Some(app), None) => app.to_owned(),
        (Some(app), Some(uid)) => format!("{app} ({uid})"),
    };
    format!("{id}  {scope:30}  {state:7}  {made}  {name}")
}
