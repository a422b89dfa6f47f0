//! What fan-out matched without the store is matched once more when the store answers it.

use postrider_testkit::{Api, Behaviour, Postgres, eventually};
use serde_json::json;

use super::{Basis, Cluster, PATIENCE};

/// Whom the database knows fan-out as: it can turn away this one alone.
const USER: &str = "fanout_alone";
const EVENTS: u64 = 5;

/// `url` as another user.
fn as_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (_, place) = rest.rsplit_once('@').unwrap();
    format!("{scheme}://{USER}@{place}")
}

async fn turn_away(postgres: &Postgres) {
    let closed = format!("ALTER ROLE {USER} NOLOGIN");
    postgres.sql(&closed).await.unwrap();
    let cut =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'");
    postgres.sql(&cut).await.unwrap();
}

async fn endpoint(cluster: &Cluster, api: &Api, app: &str, path: &str) {
    let spec = json!({ "url": cluster.receiver.on(path, Behaviour::Ok) });
    api.create_endpoint(app, &spec).await.unwrap();
}

async fn publish(api: &Api, app: &str) {
    for _ in 0..EVENTS {
        let event = json!({});
        let published = api.publish(app, "scenario.event", &event);
        published.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fan_out_could_not_know_gets_what_was_accepted_after_it_was_made() {
    let postgres = Postgres::start(&[]).await.unwrap();
    let basis = Basis {
        postgres: postgres.url().to_owned(),
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    cluster.lay_out().await;
    let made = format!("CREATE ROLE {USER} LOGIN SUPERUSER");
    postgres.sql(&made).await.unwrap();
    let its_own = as_user(cluster.setting("STORE__URL"));
    let its_own = [("STORE__URL", its_own.as_str())];
    cluster.play_with("fanout", "fanout", &its_own).await;
    cluster
        .play("rest", "ingest,worker,pump,deadletter,recorder,api")
        .await;
    cluster.ready().await;
    let api = cluster.api("rest");
    let app = api.create_app("known").await.unwrap();
    endpoint(&cluster, &api, &app, "/before").await;
    publish(&api, &app).await;
    let receiver = &cluster.receiver;
    let came = receiver.wait_for("/before", EVENTS, PATIENCE);
    came.await.unwrap();

    turn_away(&postgres).await;
    endpoint(&cluster, &api, &app, "/missed").await;
    let unknown = api.create_app("unknown").await.unwrap();
    endpoint(&cluster, &api, &unknown, "/unknown").await;
    publish(&api, &app).await;
    publish(&api, &unknown).await;
    let came = receiver.wait_for("/before", 2 * EVENTS, PATIENCE);
    came.await.unwrap();
    let fanout = cluster.find("fanout");
    let stale = fanout.counted("postrider_fanout_stale_events_total").await;
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let all = EVENTS as f64;
    assert!(stale >= all, "{stale} were matched stale");
    endpoint(&cluster, &api, &app, "/after").await;
    for path in ["/missed", "/unknown", "/after"] {
        assert_eq!(receiver.count(path), 0, "{path}");
    }

    let opened = format!("ALTER ROLE {USER} LOGIN");
    postgres.sql(&opened).await.unwrap();
    for path in ["/missed", "/unknown"] {
        let came = receiver.wait_for(path, EVENTS, PATIENCE);
        came.await.unwrap();
    }
    let finished = eventually("nothing is left to match", PATIENCE, async || {
        let left = fanout.counted("postrider_log_lag_records").await;
        (left == 0.0).then_some(())
    });
    finished.await.unwrap();
    cluster.idle().await;
    for (path, count) in [
        ("/before", 2 * EVENTS),
        ("/missed", EVENTS),
        ("/unknown", EVENTS),
        ("/after", 0),
    ] {
        assert_eq!(receiver.count(path), count, "{path}");
    }
}
