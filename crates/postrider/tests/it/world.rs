//! What a scenario has: a server with a data directory, a receiver, an application.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postrider_failpoint::VARIABLE;
use postrider_testkit::{
    Api, Behaviour, Kill, Launch, Load, LossChecker, Receiver, Recording, Report, Server,
    SmallDisk, Target, Verdict, WRITING_DOWN, eventually,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch};
use tokio::task::JoinHandle;

use crate::engines::{self, Engines};
use crate::unfinished::unfinished;

/// Ends a test that waits in vain.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// What was answered so long before a kill is written down, whatever the machine has to do. The figure is [`WRITING_DOWN`],
/// and the log judges what repeats; 1.2 s were seen where thirty waited for two cores.
pub(crate) const LONG_BEFORE: Duration = Duration::from_secs(15);

/// The machine, which worlds share unless one asks to be alone on it.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// A world's place on the machine; a scenario never has two worlds at once, so none waits for itself.
pub(crate) enum Place {
    Shared(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
}

impl Place {
    /// Beside others.
    pub(crate) async fn shared() -> Self {
        Self::Shared(MACHINE.read().await)
    }
}

/// A scenario's world. Everything in it ends with it.
pub(crate) struct World {
    // The server ends before its data directory does.
    server: Option<Server>,
    pub(crate) receiver: Receiver,
    pub(crate) launch: Launch,
    pub(crate) api: Api,
    pub(crate) app: String,
    /// The receiver's path of each endpoint, by id.
    paths: Mutex<BTreeMap<String, String>>,
    /// The folder that it lies in, or the engines that it stands on.
    _under_it: Box<dyn Send>,
    _place: Place,
}

impl World {
    /// A running server with these settings, and one application.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::recording(Recording::Arrivals, settings).await
    }

    /// Likewise, while no other scenario runs: for what is judged by how late something is, which others would make
    /// later.
    pub(crate) async fn alone(settings: &[(&str, &str)]) -> Self {
        let place = Place::Alone(MACHINE.write().await);
        Self::start_in(place, Recording::Arrivals, settings, None).await
    }

    /// Likewise, beside others, with a server that stops at this passage of a fail point; started again, it does not.
    pub(crate) async fn stopping_at(point: &str, passage: u64, settings: &[(&str, &str)]) -> Self {
        let place = Place::shared().await;
        let stops = (VARIABLE, format!("{point}:{passage}"));
        let mut world = Self::start_in(place, Recording::Arrivals, settings, Some(stops)).await;
        world.launch = world.launch.without_variable(VARIABLE);
        world
    }

    /// Likewise, with a receiver that keeps this much.
    pub(crate) async fn recording(recording: Recording, settings: &[(&str, &str)]) -> Self {
        Self::start_in(Place::shared().await, recording, settings, None).await
    }

    /// Likewise, with this variable in the server's environment.
    pub(crate) async fn in_environment(
        variable: (&str, &str),
        recording: Recording,
        settings: &[(&str, &str)],
    ) -> Self {
        let variable = Some((variable.0, variable.1.to_owned()));
        Self::start_in(Place::shared().await, recording, settings, variable).await
    }

    /// Likewise, with the data directory on this disk.
    pub(crate) async fn on_disk(disk: SmallDisk, settings: &[(&str, &str)]) -> Self {
        let data = disk.path().join("data");
        let mut launch = Launch::new(env!("CARGO_BIN_EXE_postrider"), data);
        for (key, value) in settings {
            launch = launch.set(key, value);
        }
        Self::launched(launch, Place::shared().await, Recording::Arrivals, disk).await
    }

    /// Likewise, on Kafka and PostgreSQL, every role in one process.
    pub(crate) async fn on_kafka(settings: &[(&str, &str)]) -> Self {
        let place = Place::shared().await;
        let engines = Engines::new().await;
        let settings = settings.iter();
        let engines = settings.fold(engines, |engines, (key, value)| engines.set(key, value));
        let world = Self::launched(engines.launch(), place, Recording::Arrivals, engines).await;
        engines::ready(&world.api).await;
        world
    }

    /// Likewise, with a server of this build, while no other scenario runs.
    pub(crate) async fn by(binary: &Path, settings: &[(&str, &str)]) -> Self {
        let place = Place::Alone(MACHINE.write().await);
        let directory = TempDir::with_prefix("postrider-").unwrap();
        let launch = Launch::new(binary, directory.path().join("data"));
        let launch = settings
            .iter()
            .fold(launch, |launch, (key, value)| launch.set(key, value));
        Self::launched(launch, place, Recording::Arrivals, directory).await
    }

    async fn start_in(
        place: Place,
        recording: Recording,
        settings: &[(&str, &str)],
        variable: Option<(&str, String)>,
    ) -> Self {
        let directory = TempDir::with_prefix("postrider-").unwrap();
        let mut launch = Launch::new(
            env!("CARGO_BIN_EXE_postrider"),
            directory.path().join("data"),
        );
        for (key, value) in settings {
            launch = launch.set(key, value);
        }
        if let Some((name, value)) = variable {
            launch = launch.variable(name, value);
        }
        Self::launched(launch, place, recording, directory).await
    }

    async fn launched(
        launch: Launch,
        place: Place,
        recording: Recording,
        under_it: impl Send + 'static,
    ) -> Self {
        let server = launch.start().await.unwrap();
        let api = server.api().unwrap();
        let app = api.create_app("scenario").await.unwrap();
        // The same port after each restart, so that clients find it again.
        let launch = launch.listen(server.address().unwrap());
        Self {
            server: Some(server),
            receiver: Receiver::recording(recording).unwrap(),
            launch,
            api,
            app,
            paths: Mutex::default(),
            _under_it: Box::new(under_it),
            _place: place,
        }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// An endpoint at `path` of the receiver, which behaves so and checks signatures. Returns its id.
    pub(crate) async fn endpoint(&self, path: &str, behaviour: Behaviour) -> String {
        self.endpoint_with(path, behaviour, json!({})).await
    }

    /// Likewise, with these further fields.
    pub(crate) async fn endpoint_with(
        &self,
        path: &str,
        behaviour: Behaviour,
        mut spec: Value,
    ) -> String {
        spec["url"] = json!(self.receiver.on(path, behaviour));
        let endpoint = self.api.create_endpoint(&self.app, &spec).await.unwrap();
        let secret = self.api.secret(&self.app, &endpoint).await.unwrap();
        self.receiver.verify(path, &secret);
        self.leads_to(&endpoint, path);
        endpoint
    }

    /// What is sent to this endpoint comes to `path` of the receiver.
    pub(crate) fn leads_to(&self, endpoint: &str, path: &str) {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.insert(endpoint.to_owned(), path.to_owned());
    }

    /// Changes fields of an endpoint.
    pub(crate) async fn change(&self, endpoint: &str, fields: Value) {
        let path = format!("/api/v1/app/{}/endpoint/{endpoint}", self.app);
        self.api.patch(&path, &fields).await.unwrap();
    }

    /// Publishes `count` events as fast as they are answered.
    pub(crate) async fn publish(&self, count: u64) -> Report {
        let load = Load {
            count: Some(count),
            ..Load::of(&self.app, "scenario.event")
        };
        let report = load.run_against(self.target()).await.unwrap();
        assert_eq!(report.failed, 0, "{}", report.last_failure);
        report
    }

    /// Begins a load that goes on until it is stopped.
    pub(crate) fn load(&self, load: Load) -> Running {
        Running::begin(load, self.target())
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            address: self.server().address().unwrap(),
            token: self.server().token.clone(),
        }
    }

    /// Waits until at least `count` requests have come to the paths that begin with `prefix`.
    pub(crate) async fn wait_for(&self, prefix: &str, count: u64) {
        let waited = self.receiver.wait_for(prefix, count, DEADLINE).await;
        waited.unwrap();
    }

    /// Ends the server as `kill -9` does.
    pub(crate) async fn kill(&mut self) -> Kill {
        let before = Instant::now();
        self.server.take().unwrap().kill().unwrap();
        // What it had sent may not have been read yet; what comes later comes from the next one.
        self.receiver.wait_until_left(DEADLINE).await.unwrap();
        Kill {
            before,
            after: Instant::now(),
            reach: WRITING_DOWN,
        }
    }

    /// Likewise, and has `checker` excuse what its log says was not finished then, and nothing else; nor that, if it had been
    /// answered [`LONG_BEFORE`].
    pub(crate) async fn kill_told_to(&mut self, checker: &mut LossChecker) {
        let kill = Kill {
            reach: LONG_BEFORE,
            ..self.kill().await
        };
        checker.killed_leaving(kill, self.unfinished().await);
    }

    /// What the worker of a server that was killed had not finished: (event, path).
    pub(crate) async fn unfinished(&self) -> HashSet<(String, String)> {
        let unfinished = unfinished(self.launch.data()).await;
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |(event, endpoint)| Some((event, paths.get(&endpoint)?.clone()));
        unfinished.into_iter().filter_map(at).collect()
    }

    /// Ends the server by SIGTERM.
    pub(crate) async fn terminate(&mut self) {
        let server = self.server.take().unwrap();
        let status = server.terminate(DEADLINE).await.unwrap();
        assert!(status.success(), "ended with {status}");
    }

    /// Starts the server again on the same data and address.
    pub(crate) async fn start(&mut self) {
        self.server = Some(self.launch.start().await.unwrap());
    }

    /// Likewise, with these settings on top.
    pub(crate) async fn start_with(&mut self, settings: &[(&str, &str)]) {
        for (key, value) in settings {
            self.launch = self.launch.clone().set(key, value);
        }
        self.start().await;
    }

    /// What a replay of everything would send, without sending it.
    pub(crate) async fn dead_letters(&self) -> u64 {
        let body = json!({ "filter": {}, "dryRun": true });
        let path = format!("/api/v1/app/{}/replay", self.app);
        let answer = self.api.post(&path, &body).await.unwrap();
        answer["total"].as_u64().unwrap()
    }

    /// Waits until there are exactly `count` dead letters, however long that takes while there come to be more.
    pub(crate) async fn wait_for_dead_letters(&self, count: u64) {
        let mut there = self.dead_letters().await;
        while there != count {
            let what = format!("there are {count} dead letters, and more than {there}");
            let waited = eventually(&what, DEADLINE, async || {
                let now = self.dead_letters().await;
                (now == count || now > there).then_some(now)
            });
            there = waited.await.unwrap();
        }
    }

    /// Waits until `checker` misses nothing, then holds it to its verdict.
    pub(crate) async fn hold(&self, checker: &LossChecker, deadline: Duration) -> Verdict {
        hold(&self.receiver, checker, deadline).await
    }
}

/// Waits until `checker` misses nothing of what came to `receiver`, then holds it to its verdict.
pub(crate) async fn hold(
    receiver: &Receiver,
    checker: &LossChecker,
    deadline: Duration,
) -> Verdict {
    let waited = eventually("nothing is missing", deadline, async || {
        (checker.missing(&receiver.arrivals()) == 0).then_some(())
    });
    let waited = waited.await;
    let arrivals = receiver.arrivals();
    let verdict = checker.judge(&arrivals);
    println!("{verdict}\n{}", checker.history(&verdict, &arrivals));
    assert!(waited.is_ok() && verdict.is_good(), "{verdict}");
    verdict
}

/// A load that goes on.
pub(crate) struct Running {
    running: JoinHandle<anyhow::Result<Report>>,
    stops: watch::Sender<bool>,
    _moves: watch::Sender<Target>,
}

impl Running {
    /// Begins it.
    pub(crate) fn begin(load: Load, target: Target) -> Self {
        let (moves, target) = watch::channel(target);
        let (stops, stop) = watch::channel(false);
        Self {
            running: tokio::spawn(load.run(target, stop)),
            stops,
            _moves: moves,
        }
    }

    /// Ends it. What had not been answered is neither counted as accepted nor as failed.
    pub(crate) async fn stop(self) -> Report {
        self.stops.send_replace(true);
        self.running.await.unwrap().unwrap()
    }
}
