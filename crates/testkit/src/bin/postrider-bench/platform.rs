//! The server that is measured, with its data directory and what is registered in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postrider_testkit::{Api, Launch, Server, cpu_seconds, peak_rss_bytes, rss_bytes};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::children::{LoadArguments, Loaded, run_load};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Event types `bench.0` … that endpoints may choose.
const TYPES: u64 = 100;

/// A running server with a data directory of its own.
pub(crate) struct Platform {
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) app: String,
    launch: Launch,
    directory: TempDir,
}

impl Platform {
    /// Starts one, empty but for one application.
    pub(crate) async fn start(bench: &Bench, settings: &[(&str, &str)]) -> Result<Self> {
        let directory = TempDir::with_prefix_in("data-", &bench.out)?;
        let mut launch = Launch::new(&bench.server, directory.path().join("data"));
        for (key, value) in settings {
            launch = launch.set(key, value);
        }
        let server = launch.start().await?;
        let api = server.api()?;
        let app = api.create_app("bench").await?;
        for number in 0..TYPES {
            let name = format!("bench.{number}");
            let body = json!({ "name": name, "description": "of the benchmark" });
            api.post("/api/v1/event-type", &body).await?;
        }
        Ok(Self {
            server,
            api,
            app,
            launch,
            directory,
        })
    }

    /// Stops it and starts it again on the same data.
    pub(crate) async fn restart(self) -> Result<Self> {
        let Self {
            server,
            app,
            launch,
            directory,
            ..
        } = self;
        server.terminate(PATIENCE).await?;
        let server = launch.start().await?;
        Ok(Self {
            api: server.api()?,
            server,
            app,
            launch,
            directory,
        })
    }

    pub(crate) fn data(&self) -> &std::path::Path {
        self.launch.data()
    }

    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu_seconds(self.server.pid())
    }

    pub(crate) fn rss(&self) -> Result<u64> {
        rss_bytes(self.server.pid())
    }

    pub(crate) fn peak_rss(&self) -> Result<u64> {
        peak_rss_bytes(self.server.pid())
    }

    /// Registers an endpoint for the event types `types`, or for all.
    pub(crate) async fn endpoint(&self, url: &str, types: Option<&str>) -> Result<String> {
        self.api.create_endpoint(&self.app, &spec(url, types)).await
    }

    /// Registers many, `at_once` at a time, in application `app`.
    pub(crate) async fn endpoints(&self, app: &str, specs: Vec<Value>) -> Result<()> {
        const AT_ONCE: usize = 32;
        let waiting = Arc::new(std::sync::Mutex::new(specs));
        let mut makers = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (api, app, waiting) = (self.api.clone(), app.to_owned(), Arc::clone(&waiting));
            makers.spawn(async move {
                loop {
                    let next = waiting.lock().ok().and_then(|mut specs| specs.pop());
                    let Some(spec) = next else {
                        return Ok::<_, anyhow::Error>(());
                    };
                    create_endpoint(&api, &app, &spec).await?;
                }
            });
        }
        while let Some(made) = makers.join_next().await {
            made??;
        }
        Ok(())
    }

    /// Sends `count` events of `types` types in turn at `rate` a second; 0 for as fast as they are answered.
    pub(crate) async fn load(&self, types: u64, rate: f64, count: u64) -> Result<Loaded> {
        self.load_to(&self.app, types, rate, count).await
    }

    /// Likewise, to application `app`.
    pub(crate) async fn load_to(
        &self,
        app: &str,
        types: u64,
        rate: f64,
        count: u64,
    ) -> Result<Loaded> {
        run_load(&LoadArguments {
            address: self.server.address()?,
            token: self.server.token.clone(),
            app: app.to_owned(),
            types,
            rate,
            count,
        })
        .await
    }

    /// Likewise, and waits until `arrivals` of them have come to `prefix`.
    pub(crate) async fn load_until(
        &self,
        bench: &Bench,
        (types, rate, count): (u64, f64, u64),
        (prefix, arrivals): (&str, u64),
    ) -> Result<Loaded> {
        let before = bench.receiver.stats(prefix).await?.arrived;
        let loaded = self.load(types, rate, count).await?;
        let began = Instant::now();
        loop {
            let arrived = bench.receiver.stats(prefix).await?.arrived - before;
            if arrived >= arrivals {
                return Ok(loaded);
            }
            if began.elapsed() > PATIENCE {
                bail!("{arrived} of {arrivals} deliveries came to {prefix}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the server has nothing left to do, as seen from the CPU it uses, or for `limit`.
    pub(crate) async fn settle(&self, limit: Duration) -> Result<()> {
        const WINDOW: Duration = Duration::from_millis(500);
        const IDLE_SECONDS: f64 = 0.03;
        let began = Instant::now();
        loop {
            let before = self.cpu().context("has the server ended?")?;
            tokio::time::sleep(WINDOW).await;
            if self.cpu()? - before <= IDLE_SECONDS || began.elapsed() > limit {
                return Ok(());
            }
        }
    }
}

/// Registers one. A disk that others keep busy makes the server answer 503: it is asked again, as a client does.
async fn create_endpoint(api: &Api, app: &str, spec: &Value) -> Result<String> {
    const BETWEEN: Duration = Duration::from_secs(1);
    let began = Instant::now();
    loop {
        match api.create_endpoint(app, spec).await {
            Err(error)
                if began.elapsed() < PATIENCE && format!("{error:#}").contains("answered 503") =>
            {
                tokio::time::sleep(BETWEEN).await;
            }
            made => return made,
        }
    }
}

/// An endpoint to register.
pub(crate) fn spec(url: &str, types: Option<&str>) -> Value {
    match types {
        Some(types) => json!({ "url": url, "eventTypes": [types] }),
        None => json!({ "url": url }),
    }
}
