//! Every listing is served by an index, in its order, however large the tables are.

use postrider_model::{AppId, EndpointId, EventId, Timestamp};
use postrider_store::{
    AttemptFilter, DeadLetterFilter, EventFilter, HistoryKey, Order, Page, PageStart, StatusFilter,
    Tried,
};
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite};

use super::{
    SqliteStore, applications, dead_letters, endpoints, event_types, feed, history, replays,
    retention, tokens,
};
use crate::StoreMetrics;
use crate::window::Window;

async fn store(dir: &tempfile::TempDir) -> SqliteStore {
    let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let path = dir.path().join("store.db");
    SqliteStore::open(&path, metrics).await.unwrap()
}

/// Every way in which a page can be asked for.
fn pages<K: Clone>(key: K) -> Vec<Page<K>> {
    let starts = [
        PageStart::Beginning,
        PageStart::After(key.clone()),
        PageStart::Before(key),
    ];
    let page = |start: &PageStart<K>, order| Page {
        limit: 10,
        start: start.clone(),
        order,
    };
    starts
        .iter()
        .flat_map(|start| [Order::Ascending, Order::Descending].map(|order| page(start, order)))
        .collect()
}

fn some_key() -> HistoryKey {
    HistoryKey {
        at: Timestamp::default(),
        id: [1; 16],
    }
}

/// The steps of the plan of `statement`. What it binds does not change it: there are no statistics.
async fn plan(store: &SqliteStore, statement: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
        .fetch_all(&store.readers)
        .await
        .unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

async fn uses_an_index(store: &SqliteStore, statement: &str) {
    let plan = plan(store, statement).await;
    for step in &plan {
        // Reading along an index, or along the key of the table, up to the limit is no scan of the table.
        let along_a_key = step.contains("USING INDEX") || step.contains("USING COVERING INDEX");
        let scans = step.starts_with("SCAN") && !along_a_key && !in_order_of_its_key(step);
        let sorts = step.contains("TEMP B-TREE");
        assert!(!scans && !sorts, "{statement}\n{plan:#?}");
    }
}

/// Tables whose rows lie in the order of the ids or names that their listings go by.
fn in_order_of_its_key(step: &str) -> bool {
    ["applications", "event_types", "tokens", "replays"]
        .iter()
        .any(|table| step.strip_prefix("SCAN ") == Some(*table))
}

async fn each_uses_an_index(store: &SqliteStore, queries: Vec<QueryBuilder<Sqlite>>) {
    for query in queries {
        uses_an_index(store, query.sql().as_str()).await;
    }
}

#[tokio::test]
async fn listings_of_configuration_use_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let mut queries = Vec::new();
    for page in pages(AppId::new()) {
        queries.push(applications::listing(&Window::of(&page)));
    }
    for page in pages(EndpointId::new()) {
        queries.push(endpoints::listing(AppId::new(), &Window::of(&page)));
    }
    for page in pages("a".parse().unwrap()) {
        queries.push(event_types::listing(true, &Window::of(&page)));
        queries.push(event_types::listing(false, &Window::of(&page)));
    }
    for page in pages(Default::default()) {
        queries.push(tokens::listing(&Window::of(&page)));
    }
    for page in pages(Default::default()) {
        queries.push(replays::listing(None, &Window::of(&page)));
        queries.push(replays::listing(Some(AppId::new()), &Window::of(&page)));
    }
    each_uses_an_index(&store, queries).await;
    for feed::Source { statement, .. } in feed::SOURCES {
        let steps = plan(&store, statement).await;
        assert!(
            steps.iter().all(|step| step.starts_with("SEARCH")),
            "{steps:?}"
        );
    }
}

#[tokio::test]
async fn listings_of_events_use_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let full = EventFilter {
        event_types: vec!["a".parse().unwrap(), "b".parse().unwrap()],
        channel: Some("c".parse().unwrap()),
        before: Some(Timestamp::default()),
        after: Some(Timestamp::default()),
    };
    let mut queries = Vec::new();
    for filter in [EventFilter::default(), full] {
        for page in pages(some_key()) {
            let window = Window::of(&page).between(filter.after, filter.before);
            queries.push(history::events_listing(AppId::new(), &filter, &window));
        }
    }
    each_uses_an_index(&store, queries).await;
}

#[tokio::test]
async fn listings_of_attempts_use_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let full = AttemptFilter {
        event: None,
        endpoint: None,
        status: Some(StatusFilter::Succeeded),
        or_failed_with: vec![404, 422],
        status_class: Some(5),
        event_types: vec!["a".parse().unwrap(), "b".parse().unwrap()],
        channel: Some("c".parse().unwrap()),
        before: Some(Timestamp::default()),
        after: Some(Timestamp::default()),
        only_newest: true,
        all_readable: false,
    };
    let (event, endpoint) = (Some(EventId::new()), Some(EndpointId::new()));
    let mut queries = Vec::new();
    for base in [AttemptFilter::default(), full] {
        for (event, endpoint) in [(event, None), (None, endpoint), (event, endpoint)] {
            let filter = AttemptFilter {
                event,
                endpoint,
                ..base.clone()
            };
            for page in pages(some_key()) {
                let window = Window::of(&page).between(filter.after, filter.before);
                queries.push(history::attempts_listing(AppId::new(), &filter, &window));
            }
        }
    }
    each_uses_an_index(&store, queries).await;
}

#[tokio::test]
async fn the_newest_attempts_of_an_event_are_found_by_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let steps = plan(&store, history::TRIED).await;
    let along = "SEARCH attempts USING INDEX attempts_by_event (event_id=?)";
    assert!(steps.iter().any(|step| step == along), "{steps:#?}");
    let tried = Tried {
        endpoint: EndpointId::new(),
        last_at: Timestamp::default(),
    };
    let latest = history::latest_of(AppId::new(), EventId::new(), &[tried; 3]);
    let steps = plan(&store, latest.sql().as_str()).await;
    let each = "SEARCH attempts USING INDEX attempts_by_endpoint (endpoint_id=? AND started_at=?)";
    assert!(steps.iter().any(|step| step == each), "{steps:#?}");
}

#[tokio::test]
async fn listings_of_dead_letters_use_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let mut queries = Vec::new();
    for app_id in [None, Some(AppId::new())] {
        for endpoint_id in [None, Some(EndpointId::new())] {
            for event_type in [None, Some("a".parse().unwrap())] {
                let filter = DeadLetterFilter {
                    app_id,
                    endpoint_id,
                    event_type,
                    after: Some(Timestamp::default()),
                    before: Some(Timestamp::default()),
                    only_replayable: true,
                };
                for page in pages(some_key()) {
                    let window = Window::of(&page).between(filter.after, filter.before);
                    queries.push(dead_letters::listing(&filter, &window));
                }
            }
        }
    }
    each_uses_an_index(&store, queries).await;
}

#[tokio::test]
async fn retention_finds_what_is_old_by_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    for statement in [
        retention::OLD_FANOUTS,
        retention::OLD_FANOUT_TIMES,
        retention::FANOUTS_OF_OLD_EVENTS,
        retention::OLD_EVENTS,
        retention::OLD_ATTEMPTS,
        retention::OLD_DEAD_LETTERS,
        retention::OLD_CLAIMS,
        replays::OLD,
        feed::OLD_REMOVALS,
    ] {
        uses_an_index(&store, statement).await;
    }
}
