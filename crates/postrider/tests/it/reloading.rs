//! SIGHUP: what may change in a running process does, and a mistake changes nothing.

use std::path::{Path, PathBuf};

use postrider_testkit::{Api, Behaviour, Launch, Receiver, Recording, Server, eventually};
use serde_json::json;
use tempfile::TempDir;

use crate::counted::sum;
use crate::world::DEADLINE;

const OPEN: &str = "[egress]\nallow = [\"127.0.0.0/8\"]\nrequire_https = false\n";

/// A file that is replaced as Kubernetes replaces what it mounts: by a link to the folder with the present version.
struct Mounted {
    folder: PathBuf,
    version: u32,
}

impl Mounted {
    fn new(folder: &Path, text: &str) -> Self {
        let folder = folder.to_owned();
        let mut mounted = Self { folder, version: 0 };
        mounted.replace(text);
        let there = Path::new("..data").join("postrider.toml");
        std::os::unix::fs::symlink(there, mounted.path()).unwrap();
        mounted
    }

    fn path(&self) -> PathBuf {
        self.folder.join("postrider.toml")
    }

    fn replace(&mut self, text: &str) {
        self.version += 1;
        let version = format!("..version-{}", self.version);
        let present = self.folder.join(&version);
        std::fs::create_dir(&present).unwrap();
        std::fs::write(present.join("postrider.toml"), text).unwrap();
        let next = self.folder.join("..data_tmp");
        std::os::unix::fs::symlink(&version, &next).unwrap();
        std::fs::rename(next, self.folder.join("..data")).unwrap();
    }
}

/// Has the server read its configuration again, and waits until it says so.
async fn reload(server: &Server, says: &str) {
    let so_far = server.log().matches(says).count();
    server.hang_up().unwrap();
    let said = eventually(says, DEADLINE, async || {
        (server.log().matches(says).count() > so_far).then_some(())
    });
    said.await.unwrap();
}

async fn taken(api: &Api) -> f64 {
    let metrics = api.metrics().await.unwrap();
    sum(&metrics, "postrider_config_last_reload_successful")
}

async fn register(api: &Api, app: &str, url: &str) -> u16 {
    let path = format!("/api/v1/app/{app}/endpoint");
    let answer = api.try_post(&path, &json!({ "url": url })).await.unwrap();
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_counts_at_once_where_that_is_safe_and_a_wrong_one_not_at_all() {
    let directory = TempDir::with_prefix("postrider-reload-").unwrap();
    let mut file = Mounted::new(directory.path(), OPEN);
    let launch = Launch::new(
        env!("CARGO_BIN_EXE_postrider"),
        directory.path().join("data"),
    )
    .unset("EGRESS__ALLOW")
    .unset("EGRESS__REQUIRE_HTTPS")
    .argument("--config")
    .argument(file.path().to_str().unwrap());
    let server = launch.start().await.unwrap();
    let receiver = Receiver::recording(Recording::Arrivals).unwrap();
    let api = server.api().unwrap();
    let app = api.create_app("reloading").await.unwrap();
    let event = json!({ "eventType": "a.b", "payload": {} });
    let publish = format!("/api/v1/app/{app}/msg");
    let url = receiver.on("/here", Behaviour::Ok);
    assert_eq!(register(&api, &app, &url).await, 201);
    api.post(&publish, &event).await.unwrap();
    receiver.wait_for("/here", 1, DEADLINE).await.unwrap();

    // Narrower: for new endpoints and for those that are there.
    file.replace("");
    let says = "read again; counts from now: egress.allow, egress.require_https";
    reload(&server, says).await;
    assert_eq!(register(&api, &app, &url).await, 422);
    api.post(&publish, &event).await.unwrap();
    let refused = eventually("the attempt is refused", DEADLINE, async || {
        let metrics = api.metrics().await.ok()?;
        let forbidden = r#"postrider_delivery_attempts_total{outcome="forbidden""#;
        (sum(&metrics, forbidden) >= 1.0).then_some(())
    });
    refused.await.unwrap();
    assert_eq!(receiver.count("/here"), 1);

    // Wrong: all of it stays as it was.
    file.replace(&format!("{OPEN}[logs]\nlevel = \"inof\"\n"));
    reload(&server, "the configuration stays as it was").await;
    assert!(server.log().contains("logs.level"), "{}", server.log());
    assert_eq!(register(&api, &app, &url).await, 422);
    assert!((taken(&api).await - 0.0).abs() < 0.5);

    // Right again, with more said, and something that a running process does not take.
    file.replace(&format!(
        "{OPEN}[logs]\nlevel = \"debug\"\n[delivery]\ntimeout = \"3s\"\n"
    ));
    let says = "egress.require_https, logs.level; counts from the next start: delivery.timeout";
    reload(&server, says).await;
    assert_eq!(register(&api, &app, &url).await, 201);
    assert!((taken(&api).await - 1.0).abs() < 0.5);
    let debug = eventually("it says more", DEADLINE, async || {
        server.log().contains("DEBUG").then_some(())
    });
    debug.await.unwrap();

    // What waits for a restart is named until then.
    reload(
        &server,
        "read again; counts from the next start: delivery.timeout",
    )
    .await;
}
