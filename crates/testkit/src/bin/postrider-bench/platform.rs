//! The server that is measured, with its data directory and what is registered in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postrider_testkit::{
    Api, Launch, Server, cpu_seconds, eventually, pause, peak_rss_bytes, proceed, rss_bytes,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Bench;
use crate::children::{LoadArguments, Loaded, run_load};
use crate::engine::{Ground, Servers, ServersCpu};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Event types `bench.0` … that endpoints may choose.
const TYPES: u64 = 100;

/// A running platform with data of its own: one server, or on Kafka its roles as processes.
pub(crate) struct Platform {
    /// The one that is spoken to.
    pub(crate) server: Server,
    /// The others, in the order in which they were started, each with how it was.
    others: Vec<(Launch, Server)>,
    pub(crate) api: Api,
    pub(crate) app: String,
    /// How all are started.
    launch: Launch,
    /// How the one that is spoken to is.
    spoken_to: Launch,
    /// Topics and the database, on Kafka.
    ground: Option<Ground>,
    directory: TempDir,
}

/// The roles that are processes of their own on Kafka, beside the one that is spoken to.
pub(crate) const APART: [&str; 3] = ["fanout", "pump,deadletter,recorder", "worker"];

impl Platform {
    /// Starts one, empty but for one application.
    pub(crate) async fn start(bench: &Bench, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(bench, settings, &APART).await
    }

    /// Likewise, on Kafka with processes for these roles beside `ingest` and `api`.
    pub(crate) async fn start_with(
        bench: &Bench,
        settings: &[(&str, &str)],
        apart: &[&str],
    ) -> Result<Self> {
        Self::start_on(bench, bench.servers.as_ref(), settings, apart).await
    }

    /// Likewise, on this broker and this database.
    pub(crate) async fn start_on(
        bench: &Bench,
        servers: Option<&Arc<Servers>>,
        settings: &[(&str, &str)],
        apart: &[&str],
    ) -> Result<Self> {
        let directory = TempDir::with_prefix_in("data-", &bench.out)?;
        let ground = match servers {
            Some(servers) => Some(Ground::new(bench, servers).await?),
            None => None,
        };
        let mut launch = Launch::new(&bench.server, directory.path().join("data"));
        for (key, value) in settings {
            launch = launch.set(key, value);
        }
        if let Some(ground) = &ground {
            for (key, value) in &ground.settings {
                launch = launch.set(key, value);
            }
        }
        let spoken_to = match &ground {
            Some(ground) => of_roles(
                &launch,
                ground,
                &directory.path().join("first"),
                "ingest,api",
            )?,
            None => launch.clone(),
        };
        let server = spoken_to.start().await?;
        let api = server.api()?;
        is_ready(&api).await?;
        let mut platform = Self {
            app: api.create_app("bench").await?,
            api,
            server,
            others: Vec::new(),
            launch,
            spoken_to,
            ground,
            directory,
        };
        if platform.ground.is_some() {
            for roles in apart {
                platform.play(roles).await?;
            }
        }
        for number in 0..TYPES {
            let name = format!("bench.{number}");
            let body = json!({ "name": name, "description": "of the benchmark" });
            platform.api.post("/api/v1/event-type", &body).await?;
        }
        Ok(platform)
    }

    /// Starts one more process, for these roles, whose CPU and memory count from now on.
    async fn play(&mut self, roles: &str) -> Result<()> {
        let launch = self.launch_of(roles)?;
        let server = launch.start().await?;
        is_ready(&server.api()?).await?;
        self.others.push((launch, server));
        Ok(())
    }

    /// Starts one more process, for these roles, which is the caller's.
    pub(crate) async fn spawn(&self, roles: &str) -> Result<Server> {
        let server = self.launch_of(roles)?.start().await?;
        is_ready(&server.api()?).await?;
        Ok(server)
    }

    fn launch_of(&self, roles: &str) -> Result<Launch> {
        let ground = self.ground.as_ref().context("one process has all roles")?;
        let data = TempDir::with_prefix_in("process-", &self.directory)?.keep();
        of_roles(&self.launch, ground, &data, roles)
    }

    /// Stops it and starts it again on the same data.
    pub(crate) async fn restart(self) -> Result<Self> {
        let Self {
            server,
            others,
            app,
            launch,
            spoken_to,
            ground,
            directory,
            ..
        } = self;
        let server = restarted(&spoken_to, server).await?;
        let mut again = Vec::new();
        for (launch, server) in others {
            let server = restarted(&launch, server).await?;
            again.push((launch, server));
        }
        Ok(Self {
            api: server.api()?,
            server,
            others: again,
            app,
            launch,
            spoken_to,
            ground,
            directory,
        })
    }

    pub(crate) fn data(&self) -> &std::path::Path {
        self.launch.data()
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        let others = self.others.iter().map(|(_, server)| server);
        std::iter::once(&self.server).chain(others).map(Server::pid)
    }

    /// Stops all its processes where they stand.
    pub(crate) fn pause(&self) -> Result<()> {
        self.pids().try_for_each(pause)
    }

    /// Lets them go on, and waits until it takes events. On Kafka its sessions ended meanwhile: what comes is delivered
    /// once it has its partitions again.
    pub(crate) async fn proceed(&self) -> Result<()> {
        self.pids().try_for_each(proceed)?;
        is_ready(&self.api).await
    }

    /// Of all its processes.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.pids().map(cpu_seconds).sum()
    }

    /// Of each of its processes, in the order in which they were started.
    pub(crate) fn cpu_apart(&self) -> Result<Vec<f64>> {
        self.pids().map(cpu_seconds).collect()
    }

    /// Of the broker and the database that it stands on, if it does.
    pub(crate) fn servers_cpu(&self) -> Result<Option<ServersCpu>> {
        let servers = self.ground.as_ref().map(|ground| &ground.servers);
        servers.map(|servers| servers.cpu()).transpose()
    }

    pub(crate) fn rss(&self) -> Result<u64> {
        self.pids().map(rss_bytes).sum()
    }

    /// Of each of its processes, in the order in which they were started.
    pub(crate) fn rss_apart(&self) -> Result<Vec<u64>> {
        self.pids().map(rss_bytes).collect()
    }

    pub(crate) fn peak_rss(&self) -> Result<u64> {
        self.pids().map(peak_rss_bytes).sum()
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

/// How a process with these roles is started, in a folder of its own.
fn of_roles(
    launch: &Launch,
    ground: &Ground,
    data: &std::path::Path,
    roles: &str,
) -> Result<Launch> {
    std::fs::create_dir_all(data)?;
    // Where a process on its own would have left the token that clients of it are given.
    std::fs::write(data.join("operator.token"), &ground.token)?;
    Ok(launch
        .clone()
        .data_in(data)
        .argument("--roles")
        .argument(roles))
}

/// Stops a process and starts it again on the same data.
async fn restarted(launch: &Launch, server: Server) -> Result<Server> {
    server.terminate(PATIENCE).await?;
    let server = launch.start().await?;
    is_ready(&server.api()?).await?;
    Ok(server)
}

/// Waits until it says that it is ready: brokers answer late about topics that they have just been given.
async fn is_ready(api: &Api) -> Result<()> {
    eventually("it is ready", PATIENCE, async || {
        let told = api.get("/health/ready").await.ok()?;
        (told["status"] == "ready").then_some(())
    })
    .await
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
