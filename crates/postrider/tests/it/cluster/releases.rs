//! A roll-out, and the way back: of each role a process of an older release and one of this beside each other, under load.

use std::path::Path;

use postrider_testkit::{Api, Behaviour, Broker, eventually, sql};
use serde_json::{Value, json};

use super::crowd::{Crowd, Faults};
use super::rolling::Balanced;
use super::{BINARY, Basis, Cluster, PATIENCE};
use crate::releases::older;

/// Every role with the names of its processes: of the older release, of this one, and of the older one again.
const ROLES: [(&str, [&str; 3]); 7] = [
    ("fanout", ["fanout-1", "fanout-2", "fanout-3"]),
    ("worker", ["worker-1", "worker-2", "worker-3"]),
    ("pump", ["pump-1", "pump-2", "pump-3"]),
    (
        "deadletter",
        ["deadletter-1", "deadletter-2", "deadletter-3"],
    ),
    ("recorder", ["recorder-1", "recorder-2", "recorder-3"]),
    ("ingest", ["ingest-1", "ingest-2", "ingest-3"]),
    ("api", ["api-1", "api-2", "api-3"]),
];

/// Which of the names.
const OLDER: usize = 0;
const THIS: usize = 1;
const AGAIN: usize = 2;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an older build: `make release-test FROM=COMMIT`"]
async fn two_releases_take_each_other_s_place_under_load_there_and_back_and_nothing_is_lost_repeated_or_refused()
 {
    let older = older();
    let dir = tempfile::tempdir().unwrap();
    // Sessions as they are by default: nobody is missed here, also where fourteen processes have too little of a machine.
    let sessions = "group.consumer.session.timeout.ms=45000";
    let broker = Broker::start_with_properties(dir.path(), sessions)
        .await
        .unwrap();
    let basis = Basis {
        brokers: broker.address(),
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    Crowd::prepare(&mut cluster);
    cluster.set("STORE__MAX_CONNECTIONS", 3);
    cluster.set("HTTP__LEAVE", "2s");
    cluster.by(&older);
    cluster.lay_out().await;
    for (role, names) in ROLES {
        cluster.play(names[OLDER], role).await;
    }
    cluster.ready().await;
    let before = schema(&cluster).await;
    let crowd = Crowd::settle(&cluster, "api-1").await;
    let mut refusing = Refusing::settle(&cluster).await;
    let balanced = Balanced::begin(vec![cluster.api("ingest-1")], &crowd.app);
    some_more(&cluster).await;

    join(&mut cluster, Path::new(BINARY), THIS).await;
    balanced.send_to(vec![cluster.api("ingest-1"), cluster.api("ingest-2")]);
    println!("schema {before}, then {}", schema(&cluster).await);
    // Published, kept and replayed by whoever has the partition.
    refusing.refuse_some(&cluster, &["api-1", "api-2"]).await;
    restart_beside(&mut cluster, OLDER).await;
    refusing
        .are_replayed(&cluster, "api-1", &["api-1", "api-2"])
        .await;
    leave(&mut cluster, OLDER).await;
    refusing.refuse_some(&cluster, &["api-2"]).await;

    join(&mut cluster, &older, AGAIN).await;
    balanced.send_to(vec![cluster.api("ingest-2"), cluster.api("ingest-3")]);
    leave(&mut cluster, THIS).await;
    refusing.are_replayed(&cluster, "api-3", &["api-3"]).await;

    let report = balanced.stop().await;
    assert_eq!(report.failed, 0, "refused: {}", report.last_failure);
    crowd.hold(&cluster, "api-3", &report, &Faults::new()).await;
}

async fn schema(cluster: &Cluster) -> String {
    let url = cluster.setting("STORE__URL").to_owned();
    let newest = "SELECT max(version) FROM _sqlx_migrations";
    sql(&url, newest).await.unwrap()
}

/// What is under way goes on.
async fn some_more(cluster: &Cluster) {
    let so_far = cluster.receiver.count("/ok/0");
    let some = cluster.receiver.wait_for("/ok/0", so_far + 10, PATIENCE);
    some.await.unwrap();
}

/// Each role gets one process more, of this build.
async fn join(cluster: &mut Cluster, build: &Path, which: usize) {
    cluster.by(build);
    for (role, names) in ROLES {
        cluster.play(names[which], role).await;
        cluster.find(names[which]).ready().await;
        some_more(cluster).await;
    }
}

/// These go, one after the other.
async fn leave(cluster: &mut Cluster, which: usize) {
    for (_, names) in ROLES {
        cluster.dismiss(names[which]).await;
        some_more(cluster).await;
    }
}

/// These stop and start again, which for the older ones is beside a schema that they do not know.
async fn restart_beside(cluster: &mut Cluster, which: usize) {
    for (_, names) in ROLES {
        let process = cluster.process(names[which]);
        process.terminate().await;
        process.restart().await;
        process.ready().await;
        some_more(cluster).await;
    }
}

/// An application whose only endpoint takes nothing, and then does: its dead letters are kept by one release and replayed by
/// the other.
struct Refusing {
    app: String,
    refused: u64,
    replayed: u64,
}

impl Refusing {
    async fn settle(cluster: &Cluster) -> Self {
        let api = cluster.api("api-1");
        let app = api.create_app("refusing").await.unwrap();
        let url = cluster.receiver.on("/refusing", Behaviour::Status(418));
        let spec = json!({ "url": url, "finalStatuses": [418] });
        api.create_endpoint(&app, &spec).await.unwrap();
        Self {
            app,
            refused: 0,
            replayed: 0,
        }
    }

    /// Dead letters, which all of these list.
    async fn refuse_some(&mut self, cluster: &Cluster, listed_by: &[&str]) {
        cluster.receiver.on("/refusing", Behaviour::Status(418));
        for number in 0..20 {
            let api = cluster.api(listed_by[number % listed_by.len()]);
            api.publish(&self.app, "scenario.event", &json!({ "n": number }))
                .await
                .unwrap();
            self.refused += 1;
        }
        let path = format!("/api/v1/app/{}/dead-letter?limit=250", self.app);
        for name in listed_by {
            let api = cluster.api(name);
            until(&api, &path, "its dead letters are listed", |listed| {
                listed["data"].as_array().map(Vec::len) == usize::try_from(self.refused).ok()
            })
            .await;
        }
    }

    /// All that wait are sent again; this process is asked to, and these tell of it.
    async fn are_replayed(&mut self, cluster: &Cluster, asked: &str, told_by: &[&str]) {
        cluster.receiver.on("/refusing", Behaviour::Ok);
        let path = format!("/api/v1/app/{}/replay", self.app);
        let api = cluster.api(asked);
        // A statement that was prepared before its table got a column fails once.
        let begun = eventually("a replay is begun", PATIENCE, async || {
            let body = json!({ "filter": {} });
            let answer = api.try_post(&path, &body).await.ok()?;
            (answer.status == 202).then_some(answer.body)
        });
        let replay = begun.await.unwrap();
        let path = format!("{path}/{}", replay["id"].as_str().unwrap());
        for name in told_by {
            let what = format!("{name} tells that the replay is done");
            until(&cluster.api(name), &path, &what, |replay| {
                replay["status"] == "done"
            })
            .await;
        }
        let more = self.refused - self.replayed;
        self.replayed = self.refused;
        let answered = || {
            let all = cluster.receiver.arrivals_at("/refusing");
            all.iter()
                .filter(|one| (200..300).contains(&one.status))
                .count() as u64
        };
        let all = eventually("what was replayed has come", PATIENCE, async || {
            (answered() == self.replayed).then_some(())
        });
        assert!(
            all.await.is_ok(),
            "{more} more: {} of {}",
            answered(),
            self.replayed
        );
    }
}

async fn until(api: &Api, path: &str, what: &str, is: impl Fn(&Value) -> bool) {
    let mut last = Value::Null;
    let reached = eventually(what, PATIENCE, async || {
        last = api.get(path).await.ok()?;
        is(&last).then_some(())
    });
    let reached = reached.await;
    assert!(reached.is_ok(), "{what}: {last}");
}
