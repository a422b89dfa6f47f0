//! Topics and a database that are a test's own, on the broker and the server that the tests share; and commands of
//! `postrider` that end by themselves.

use std::path::Path;
use std::process::Command;

use postrider_testkit::{Api, Launch, Server, eventually, kafka, shared_postgres, sql};
use tempfile::TempDir;

use crate::world::DEADLINE;

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

/// Where processes of a test find their log and their store, as settings without the prefix.
pub(crate) struct Engines {
    directory: TempDir,
    settings: Vec<(String, String)>,
}

/// What a command printed, and how it ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// What it printed, where it succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }
}

impl Engines {
    /// A topic prefix and an empty database.
    pub(crate) async fn new() -> Self {
        let directory = TempDir::with_prefix("postrider-engines-").unwrap();
        // The folder's name is nobody else's.
        let name = directory.path().file_name().unwrap().to_str().unwrap();
        let name = name
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let server = shared_postgres().unwrap();
        sql(&server, &format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let (place, _) = server.rsplit_once('/').unwrap();
        let empty = Self {
            directory,
            settings: Vec::new(),
        };
        empty
            .set("LOG__KIND", "kafka")
            .set("LOG__KAFKA__BROKERS", kafka().unwrap())
            .set("LOG__KAFKA__TOPIC_PREFIX", format!("{name}."))
            .set("LOG__KAFKA__PARTITIONS", "2")
            .set("LOG__KAFKA__REPLICATION", "1")
            .set("LOG__KAFKA__MIN_INSYNC_REPLICAS", "1")
            .set("STORE__URL", format!("{place}/{name}"))
            .set("STORE__MAX_CONNECTIONS", "4")
    }

    /// A folder alone, for what needs no server.
    pub(crate) fn local() -> Self {
        Self {
            directory: TempDir::with_prefix("postrider-engines-").unwrap(),
            settings: Vec::new(),
        }
    }

    /// With this setting instead of what it was.
    pub(crate) fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.retain(|(given, _)| given != key);
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// Without this setting.
    pub(crate) fn unset(mut self, key: &str) -> Self {
        self.settings.retain(|(given, _)| given != key);
        self
    }

    /// A setting.
    pub(crate) fn get(&self, key: &str) -> &str {
        let found = self.settings.iter().find(|(given, _)| given == key);
        &found.unwrap().1
    }

    /// A folder of this test.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command that ends by itself.
    pub(crate) fn command(&self, arguments: &[&str]) -> Ended {
        let settings = self.settings.iter();
        let settings = settings.map(|(key, value)| (format!("POSTRIDER__{key}"), value));
        let output = Command::new(BINARY)
            .args(arguments)
            .current_dir(self.path())
            .envs(settings)
            .output()
            .unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// How one process is started that plays every role, with the token of a client that may do everything.
    pub(crate) fn launch(&self) -> Launch {
        let token = self.command(&["token", "create", "--scope", "operator"]);
        let data = self.path().join("data");
        std::fs::create_dir(&data).unwrap();
        // Where a process on its own would have left the token that clients of it are given.
        std::fs::write(data.join("operator.token"), token.ok()).unwrap();
        self.launch_again()
    }

    fn launch_again(&self) -> Launch {
        let launch = Launch::new(BINARY, self.path().join("data"));
        let settings = self.settings.iter();
        settings.fold(launch, |launch, (key, value)| launch.set(key, value))
    }

    /// That process, ready, and that client.
    pub(crate) async fn serve(&self) -> (Server, Api) {
        serve(self.launch()).await
    }

    /// Likewise, once it ran before.
    pub(crate) async fn serve_again(&self) -> (Server, Api) {
        serve(self.launch_again()).await
    }
}

async fn serve(launch: Launch) -> (Server, Api) {
    let server = launch.start().await.unwrap();
    let api = server.api().unwrap();
    ready(&api).await;
    (server, api)
}

/// Waits until a process says that it is ready: brokers may answer late about topics that they have just been given.
pub(crate) async fn ready(api: &Api) {
    let ready = eventually("it is ready", DEADLINE, async || {
        let told = api.get("/health/ready").await.ok()?;
        (told["status"] == "ready").then_some(())
    });
    ready.await.unwrap();
}
