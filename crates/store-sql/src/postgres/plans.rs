//! Every listing is served by an index, in its order, on a million rows. `POSTRIDER_TEST_ROWS` sets another number.

use postrider_model::{AppId, EndpointId, EventId, EventType, Timestamp};
use postrider_store::{
    AttemptFilter, Closing, DeadLetterFilter, EventFilter, HistoryKey, Order, Page, PageStart,
    StatusFilter,
};
use postrider_testkit::{setting, shared_postgres};
use sqlx::postgres::PgArguments;
use sqlx::{
    Arguments, AssertSqlSafe, Connection, Execute, PgConnection, Postgres, QueryBuilder, Row,
};

use super::partitions::{ATTEMPTS, EVENTS, FANOUTS, day_of, start_of};
use super::{
    PostgresOptions, PostgresStore, applications, dead_letters, endpoints, event_types, feed,
    history, replays, retention, tokens, uuid,
};
use crate::StoreMetrics;
use crate::window::Window;

/// The day in the middle of those that the rows are spread over.
const DAY: i64 = 20_000;

/// Fewer rows than this may be sorted.
const FEW: f64 = 1000.0;

struct House {
    store: PostgresStore,
    beside: PgConnection,
    /// Tables of one row or none, which the planner may well read from end to end.
    empty: Vec<String>,
}

async fn run(connection: &mut PgConnection, statement: String) {
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    query.execute(connection).await.unwrap();
}

impl House {
    async fn new() -> Self {
        let server = shared_postgres().unwrap();
        let name = format!("plans_{}", std::process::id());
        let mut on = PgConnection::connect(&server).await.unwrap();
        run(&mut on, format!("CREATE DATABASE {name}")).await;
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
        let options = PostgresOptions::default();
        let store = PostgresStore::open(&url, options, metrics).await.unwrap();
        for day in [DAY - 4, DAY, DAY + 4] {
            store.renew_partitions(day).await;
        }
        let mut beside = PgConnection::connect(&url).await.unwrap();
        fill(&mut beside, setting("POSTRIDER_TEST_ROWS", 1_000_000)).await;
        let names = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND reltuples <= 1";
        let empty = sqlx::query_scalar(names).fetch_all(&mut beside).await;
        Self {
            store,
            beside,
            empty: empty.unwrap(),
        }
    }

    async fn end(self) {
        self.store.close().await;
        self.beside.close().await.unwrap();
        let mut on = PgConnection::connect(&shared_postgres().unwrap())
            .await
            .unwrap();
        let name = format!("plans_{}", std::process::id());
        run(&mut on, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }

    async fn plan(&mut self, statement: &str, arguments: PgArguments) -> Vec<String> {
        let explain = AssertSqlSafe(format!("EXPLAIN {statement}"));
        let rows = sqlx::query_with(explain, arguments)
            .persistent(false)
            .fetch_all(&mut self.beside)
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn uses_an_index(&mut self, statement: &str, arguments: PgArguments) {
        let plan = self.plan(statement, arguments).await;
        for step in &plan {
            let scans = step.split_once("Seq Scan on ").is_some_and(|(_, of)| {
                let table = of.split(' ').next().unwrap_or_default();
                !self.empty.iter().any(|empty| empty == table)
            });
            let sorts = step.contains("Sort  (") && rows_of(step) > FEW;
            assert!(!scans && !sorts, "{statement}\n{plan:#?}");
        }
    }

    async fn each_uses_an_index(&mut self, queries: Vec<QueryBuilder<Postgres>>) {
        for mut query in queries {
            let mut query = query.build();
            let arguments = query.take_arguments().unwrap().unwrap();
            let statement = query.sql();
            self.uses_an_index(statement.as_str(), arguments).await;
        }
    }
}

/// The planner's estimate in a step such as `Sort  (cost=8.3..8.4 rows=10 width=4)`.
fn rows_of(step: &str) -> f64 {
    let behind = step.split_once("rows=").map_or("", |(_, behind)| behind);
    let digits = behind.split(' ').next().unwrap_or_default();
    digits.parse().unwrap_or(f64::MAX)
}

/// The id of number `i` of its kind, and one that carries the time `at`.
const ID: &str = "md5($1 || i)::uuid";
const APP: &str = "md5('app' || CASE WHEN i % 2 = 0 THEN 0 ELSE i % 1000 END)::uuid";

/// A third of the rows are attempts, a third events with whom they went to, the rest everything else. Half of them belong
/// to one application and one endpoint.
async fn fill(on: &mut PgConnection, rows: i64) {
    let (from, days) = (start_of(DAY - 4).as_millis(), 8);
    let third = rows / 3;
    let at = format!("{from} + (i * {days} * 86400000::bigint) / {third}");
    let event_id =
        format!("(lpad(to_hex({at}), 12, '0') || '7' || substr(md5(i::text), 14))::uuid");
    let hook = "md5('hook' || CASE WHEN i % 2 = 0 THEN 0 ELSE i % 5000 END)::uuid";
    let id = |kind: &str| ID.replace("$1", &format!("'{kind}'"));
    let few = rows / 20;
    let event_type = "'type.' || i % 20";
    for statement in [
        "SET synchronous_commit = off".to_owned(),
        format!(
            "INSERT INTO applications SELECT {}, 'uid' || i, 'name', '{{}}', NULL, i, i, i \
             FROM generate_series(0, {few}) i",
            id("app")
        ),
        format!(
            "INSERT INTO endpoints SELECT {}, {APP}, 'uid' || i, 'https://example.com/', '', '{{}}', NULL, NULL, NULL, \
             NULL, NULL, NULL, NULL, '[]', '{{}}', '[]', 1000000000 + i, i, i FROM generate_series(0, {few}) i",
            id("hook")
        ),
        format!(
            "INSERT INTO event_types SELECT 'type.' || i, '', i % 3 = 0, false, NULL, NULL, 2000000000 + i, i, i \
             FROM generate_series(0, {few}) i"
        ),
        format!(
            "INSERT INTO tokens SELECT {}, sha256(i::text::bytea), NULL, '', NULL, NULL, 3000000000 + i, i \
             FROM generate_series(0, {few}) i",
            id("token")
        ),
        format!(
            "INSERT INTO removed SELECT 4000000000 + i, 'endpoint', {APP}, '', i FROM generate_series(0, {few}) i"
        ),
        format!(
            "INSERT INTO events SELECT {event_id}, {APP}, {at}, {event_type}, \
             CASE WHEN i % 3 = 0 THEN ',c,' ELSE '' END, 'uid' || i % 1000, 'application/json', NULL, '{{}}' \
             FROM generate_series(0, {third} - 1) i"
        ),
        format!(
            "INSERT INTO fanouts SELECT {event_id}, {at}, sha256(i::text::bytea), {APP}, '', 1, false, true \
             FROM generate_series(0, {few}) i"
        ),
        format!(
            "INSERT INTO derived_events SELECT {}, {at} FROM generate_series(0, {few}) i",
            id("derived")
        ),
        format!(
            "INSERT INTO attempts SELECT {event_id}, {at} + 5, {}, {hook}, {APP}, {at}, i % 3, 200 + i % 400, \
             {event_type}, 'some bytes' FROM generate_series(0, {third} - 1) i",
            id("attempt")
        ),
        // Late ones, for which there are no partitions.
        format!(
            "INSERT INTO events SELECT {}, {APP}, i, {event_type}, '', NULL, '', NULL, '' FROM generate_series(0, {few}) i",
            id("late")
        ),
        format!(
            "INSERT INTO fanouts SELECT {}, i, '', {APP}, '', 1, false, true FROM generate_series(0, {few}) i",
            id("late")
        ),
        format!(
            "INSERT INTO attempts SELECT {}, i, {}, {hook}, {APP}, i, i % 3, 200, {event_type}, '' \
             FROM generate_series(0, {few}) i",
            id("late"),
            id("late")
        ),
        format!(
            "INSERT INTO dead_letters SELECT {}, {at}, {APP}, {hook}, {event_type}, NULL, \
             CASE WHEN i % 2 = 0 THEN {} END, i, '' FROM generate_series(0, {few}) i",
            id("letter"),
            id("replay")
        ),
        format!(
            "INSERT INTO replays SELECT {}, {APP}, NULL, NULL, NULL, NULL, NULL, NULL, false, 1, \
             CASE WHEN i % 100 = 0 THEN 'running' ELSE 'done' END, 0, 0, 0, NULL, NULL, '', i, i, i, NULL, NULL \
             FROM generate_series(0, {few}) i",
            id("replay")
        ),
        format!(
            "INSERT INTO claims SELECT 'key' || i, '', '', i, i, CASE WHEN i % 9 > 0 THEN 'x'::bytea END \
             FROM generate_series(0, {few}) i"
        ),
        "ANALYZE".to_owned(),
    ] {
        run(on, statement).await;
    }
}

/// Every way in which a page can be asked for.
fn pages<K: Clone>(key: K) -> Vec<Page<K>> {
    let starts = [
        PageStart::Beginning,
        PageStart::After(key.clone()),
        PageStart::Before(key),
    ];
    let page = |start: &PageStart<K>, order| Page {
        limit: 50,
        start: start.clone(),
        order,
    };
    starts
        .iter()
        .flat_map(|start| [Order::Ascending, Order::Descending].map(|order| page(start, order)))
        .collect()
}

fn arguments<const N: usize>(given: [&dyn Fn(&mut PgArguments); N]) -> PgArguments {
    let mut arguments = PgArguments::default();
    given.iter().for_each(|add| add(&mut arguments));
    arguments
}

/// The large application or endpoint, and a small one: what PostgreSQL calls `md5(kind || number)`.
async fn two<K: postrider_model::IdKind>(
    house: &mut House,
    kind: &str,
) -> [postrider_model::Id<K>; 2] {
    let mut ids = [postrider_model::Id::new(); 2];
    for (number, id) in [0, 7].into_iter().zip(&mut ids) {
        let text = format!("SELECT md5('{kind}' || {number})::uuid");
        let found: uuid::Uuid = sqlx::query_scalar(AssertSqlSafe(text))
            .fetch_one(&mut house.beside)
            .await
            .unwrap();
        *id = postrider_model::Id::from_bytes(*found.as_bytes());
    }
    ids
}

fn middle() -> Timestamp {
    start_of(DAY)
}

fn some_key() -> HistoryKey {
    HistoryKey {
        at: middle(),
        id: [0x80; 16],
    }
}

#[tokio::test]
async fn every_listing_of_a_million_rows_is_served_by_an_index() {
    let mut house = House::new().await;
    configuration(&mut house).await;
    event_listings(&mut house).await;
    attempt_listings(&mut house).await;
    dead_letter_listings(&mut house).await;
    single_things(&mut house).await;
    old_rows(&mut house).await;
    house.end().await;
}

async fn configuration(house: &mut House) {
    let [app, _] = two(house, "app").await;
    let mut queries = Vec::new();
    for page in pages(app) {
        queries.push(applications::listing(&Window::of(&page)));
    }
    for page in pages(EndpointId::from_bytes([0x80; 16])) {
        queries.push(endpoints::listing(app, &Window::of(&page)));
    }
    let name: EventType = "type.5".parse().unwrap();
    for page in pages(name) {
        queries.push(event_types::listing(true, &Window::of(&page)));
        queries.push(event_types::listing(false, &Window::of(&page)));
    }
    for page in pages(postrider_model::TokenId::from_bytes([0x80; 16])) {
        queries.push(tokens::listing(&Window::of(&page)));
    }
    for page in pages(postrider_model::ReplayId::from_bytes([0x80; 16])) {
        queries.push(replays::listing(None, &Window::of(&page)));
        queries.push(replays::listing(Some(app), &Window::of(&page)));
    }
    house.each_uses_an_index(queries).await;
    for (source, base) in feed::SOURCES.iter().zip(0i64..) {
        let few = setting("POSTRIDER_TEST_ROWS", 1_000_000) / 20;
        let since = base * 1_000_000_000 + few - 10;
        let given = arguments([&|to| to.add(since).unwrap()]);
        house.uses_an_index(source.statement, given).await;
    }
}

async fn event_listings(house: &mut House) {
    let full = EventFilter {
        event_types: vec!["type.1".parse().unwrap(), "type.3".parse().unwrap()],
        channel: Some("c".parse().unwrap()),
        before: Some(middle().plus(std::time::Duration::from_secs(90_000))),
        after: Some(middle()),
    };
    let apps: [AppId; 2] = two(house, "app").await;
    for app in apps {
        let mut queries = Vec::new();
        for filter in [EventFilter::default(), full.clone()] {
            for page in pages(some_key()) {
                let window = Window::of(&page).between(filter.after, filter.before);
                queries.push(history::events_listing(app, &filter, &window));
            }
        }
        house.each_uses_an_index(queries).await;
    }
}

async fn attempt_listings(house: &mut House) {
    let full = AttemptFilter {
        status: Some(StatusFilter::Succeeded),
        or_failed_with: vec![404, 422],
        status_class: Some(5),
        event_types: vec!["type.1".parse().unwrap(), "type.3".parse().unwrap()],
        channel: Some("c".parse().unwrap()),
        before: Some(middle().plus(std::time::Duration::from_secs(90_000))),
        after: Some(middle()),
        only_newest: true,
        ..AttemptFilter::default()
    };
    let newest = AttemptFilter {
        only_newest: true,
        ..AttemptFilter::default()
    };
    let [app, _] = two(house, "app").await;
    let event = Some(EventId::new_at(middle()));
    for endpoint in two(house, "hook").await {
        let mut queries = Vec::new();
        for base in [AttemptFilter::default(), newest.clone(), full.clone()] {
            for (event, endpoint) in [
                (event, None),
                (None, Some(endpoint)),
                (event, Some(endpoint)),
            ] {
                let filter = AttemptFilter {
                    event,
                    endpoint,
                    ..base.clone()
                };
                for page in pages(some_key()) {
                    let window = Window::of(&page).between(filter.after, filter.before);
                    queries.push(history::attempts_listing(app, &filter, &window));
                }
            }
        }
        house.each_uses_an_index(queries).await;
    }
}

async fn dead_letter_listings(house: &mut House) {
    let [app, small] = two(house, "app").await;
    let [hook, _] = two(house, "hook").await;
    let mut queries = Vec::new();
    for app_id in [None, Some(app), Some(small)] {
        for endpoint_id in [None, Some(hook)] {
            for event_type in [None, Some("type.1".parse().unwrap())] {
                let filter = DeadLetterFilter {
                    app_id,
                    endpoint_id,
                    event_type,
                    after: Some(start_of(DAY - 3)),
                    before: Some(start_of(DAY + 3)),
                    only_replayable: true,
                };
                for page in pages(some_key()) {
                    let window = Window::of(&page).between(filter.after, filter.before);
                    queries.push(dead_letters::listing(&filter, &window));
                }
            }
        }
    }
    house.each_uses_an_index(queries).await;
}

/// Things by their ids and names, in whichever partition they are.
async fn single_things(house: &mut House) {
    let [app, _]: [AppId; 2] = two(house, "app").await;
    let event = EventId::new_at(middle());
    let derived = EventId::derive(&[b"x"]);
    let (from, to) = (start_of(DAY - 1).as_millis(), start_of(DAY + 1).as_millis());
    let id = |id: uuid::Uuid| move |to: &mut PgArguments| to.add(id).unwrap();
    let ids = |id: uuid::Uuid| move |to: &mut PgArguments| to.add(vec![id]).unwrap();
    let number = |number: i64| move |to: &mut PgArguments| to.add(number).unwrap();
    let app = &id(uuid(app));
    let by_ids = arguments([
        app,
        &ids(uuid(event)),
        &number(from),
        &number(to),
        &ids(uuid(derived)),
    ]);
    house.uses_an_index(history::EVENTS_BY_ID, by_ids).await;
    let by_uid = arguments([app, &|to| to.add("uid7").unwrap()]);
    house.uses_an_index(history::EVENT_BY_UID, by_uid).await;
    // As many as a page has.
    let hooks: Vec<_> = (0..250).map(|_| uuid(EndpointId::new())).collect();
    let times = vec![middle().as_millis(); hooks.len()];
    // A derived id may be in any partition.
    for (event, from, to) in [(event, from, to), (derived, i64::MIN, i64::MAX)] {
        let event = &id(uuid(event));
        let (from, to) = (&number(from), &number(to));
        let parts = arguments([event, app, from, to]);
        house.uses_an_index(history::FANOUTS_OF, parts).await;
        let one = arguments([event, event, app, from]);
        house.uses_an_index(history::ATTEMPT_BY_ID, one).await;
        let tried = arguments([event, app, from]);
        house.uses_an_index(history::TRIED, tried).await;
        let hooks = |to: &mut PgArguments| to.add(hooks.clone()).unwrap();
        let times = |to: &mut PgArguments| to.add(times.clone()).unwrap();
        let latest = arguments([&hooks, &times, from, to, event, app]);
        house.uses_an_index(history::LATEST, latest).await;
    }
}

async fn old_rows(house: &mut House) {
    for statement in [
        retention::OLD_EVENTS,
        retention::OLD_FANOUTS,
        retention::OLD_ATTEMPTS,
        retention::OLD_DERIVED,
        retention::OLD_DEAD_LETTERS,
        retention::OLD_CLAIMS,
        replays::OLD,
        feed::OLD_REMOVALS,
    ] {
        let given = arguments([&|to| to.add(start_of(DAY).as_millis()).unwrap(), &|to| {
            to.add(500i64).unwrap();
        }]);
        house.uses_an_index(statement, given).await;
    }
    // Days that have a partition, and its day's rows in it.
    let days = [DAY - 4, DAY, DAY + 3];
    for table in [EVENTS, FANOUTS, ATTEMPTS] {
        let known = house.store.partitions_of(table).await.unwrap();
        assert!(
            days.iter()
                .all(|day| known.iter().any(|(known, _)| known == day))
        );
    }
    assert_eq!(day_of(middle()), DAY);
}
