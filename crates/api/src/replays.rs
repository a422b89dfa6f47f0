//! Replays: delivering dead letters again. Made and steered here, carried out by the dead-letter service.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use postrider_failpoint::fail_point;
use postrider_http::{Bounded, Bounds, HttpError, Query, Slashed, parse_json, unavailable};
use postrider_model::{DeadLetterId, EventType, ReplayId, Timestamp};
use postrider_store::{DeadLetterFilter, Order, Page, PageStart, Replay, ReplayStatus, Selection};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::dead_letters::NotReplayable;
use crate::idempotent::Operation;
use crate::page::{PAGING, Paging};
use crate::reach::{LastId, Reach};
use crate::reply::{Answer, Reply};

/// The most dead letters that one request may name.
const MAX_IDS: usize = 1_000;

/// How many deliveries a second a replay may publish.
#[derive(Debug)]
struct PerSecond;

impl Bounds for PerSecond {
    const LOW: u32 = 1;
    const HIGH: u32 = 10_000;
    const OF: &'static str = "deliveries a second";
}

pub(crate) fn routes() -> Router<Arc<Api>> {
    let mut routes = Router::new();
    for base in ["/api/v1/replay", "/api/v1/app/{app_id}/replay"] {
        let below = |path: &str| format!("{base}/{{id}}{path}");
        routes = routes
            .slashed(base, get(list).post(create))
            .slashed(&below(""), get(read))
            .slashed(&below("/pause"), post(pause))
            .slashed(&below("/resume"), post(resume))
            .slashed(&below("/cancel"), post(cancel));
    }
    routes
}

/// What is asked for: dead letters by id, or by filter.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReplayIn {
    #[serde(default)]
    dead_letter_ids: Option<Vec<DeadLetterId>>,
    #[serde(default)]
    filter: Option<FilterIn>,
    #[serde(default)]
    rate: Option<Bounded<PerSecond>>,
    #[serde(default)]
    dry_run: bool,
}

/// Which of the two ways of asking is taken, whatever stands in them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    dead_letter_ids: Option<IgnoredAny>,
    filter: Option<IgnoredAny>,
}

const EITHER: &str = "expected either deadLetterIds or filter; an empty filter, {}, means all";

/// A misspelt field would replay more than was meant: unknown ones are refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FilterIn {
    #[serde(default, alias = "app_id")]
    app_id: Option<String>,
    #[serde(default, alias = "endpoint_id")]
    endpoint_id: Option<String>,
    #[serde(default, alias = "event_type")]
    event_type: Option<EventType>,
    #[serde(default)]
    after: Option<Timestamp>,
    #[serde(default)]
    before: Option<Timestamp>,
}

/// A replay as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayOut {
    /// `None` for a dry run, which leaves nothing behind.
    id: Option<ReplayId>,
    status: &'static str,
    /// Why it was paused, if no operator did.
    paused_because: Option<String>,
    total: u64,
    done: u64,
    failed: u64,
    /// Left to another replay, or removed, or their endpoint was, before this one came to them. 0 until it is done.
    skipped: u64,
    rate: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<&Replay> for ReplayOut {
    fn from(replay: &Replay) -> Self {
        let dealt_with = replay.done + replay.failed;
        // What had died before the replay was made may be kept only after it was counted.
        let total = replay.total.max(dealt_with);
        let is_done = replay.status == ReplayStatus::Done;
        Self {
            id: Some(replay.id),
            status: replay.status.label(),
            paused_because: replay.paused_because.clone(),
            total,
            done: replay.done,
            failed: replay.failed,
            skipped: if is_done { total - dealt_with } else { 0 },
            rate: replay.rate,
            created_at: replay.created_at,
            updated_at: replay.updated_at,
        }
    }
}

async fn create(
    State(api): State<Arc<Api>>,
    reach: Reach,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let body = api.body(&headers, body).await?;
    let operation = Operation {
        name: "replay.create",
        scope: reach.app_id.map_or_else(String::new, |id| id.to_string()),
        target: String::new(),
        body: &body,
    };
    let (doer, sent) = (Arc::clone(&api), body.clone());
    let work = async move {
        // First of all: what is wrong inside one of them is of no use to who sent both.
        if let Ok(asked) = serde_json::from_slice::<Asked>(&sent)
            && asked.dead_letter_ids.is_some() == asked.filter.is_some()
        {
            return Err(HttpError::body("filter", EITHER));
        }
        let given: ReplayIn = parse_json(&sent)?;
        let dry_run = given.dry_run;
        let mut replay = doer.planned(&reach, given).await?;
        let mut out = ReplayOut::from(&replay);
        if dry_run {
            (out.id, out.status) = (None, "dry_run");
        } else {
            replay.generation = doer.store.new_generation(replay.created_at).await?;
            fail_point!("replay.insert.before");
            doer.store.insert_replay(&replay).await?;
            fail_point!("replay.insert.after");
        }
        Reply::json(StatusCode::ACCEPTED, &out)
    };
    api.once(&headers, operation, work).await
}

async fn list(State(api): State<Arc<Api>>, reach: Reach, query: Query) -> Answer {
    let query = query.only(&PAGING)?;
    let paging = Paging::<ReplayId>::of(&query, Order::Descending)?;
    let page = api.store.replays(reach.app_id, &paging.page()).await;
    let page = page.map_err(unavailable)?;
    Reply::ok(&paging.listed(&page, |one| one.id, |one| Some(ReplayOut::from(one))))
}

async fn read(State(api): State<Arc<Api>>, reach: Reach, LastId(id): LastId) -> Answer {
    Reply::ok(&ReplayOut::from(&api.replay(&reach, &id).await?))
}

async fn pause(State(api): State<Arc<Api>>, reach: Reach, LastId(id): LastId) -> Answer {
    use ReplayStatus::{Paused, Running};
    api.steer(&reach, &id, &[Running, Paused], Paused).await
}

async fn resume(State(api): State<Arc<Api>>, reach: Reach, LastId(id): LastId) -> Answer {
    use ReplayStatus::{Paused, Running};
    api.steer(&reach, &id, &[Paused, Running], Running).await
}

async fn cancel(State(api): State<Arc<Api>>, reach: Reach, LastId(id): LastId) -> Answer {
    use ReplayStatus::{Cancelled, Paused, Running};
    api.steer(&reach, &id, &[Running, Paused, Cancelled], Cancelled)
        .await
}

impl Api {
    async fn replay(&self, reach: &Reach, id: &str) -> Result<Replay, HttpError> {
        let id: ReplayId = id.parse().map_err(|_| HttpError::NotFound)?;
        let found = self.store.replay(id).await.map_err(unavailable)?;
        found
            .filter(|replay| reach.covers(replay.app_id))
            .ok_or(HttpError::NotFound)
    }

    /// Brings a replay to `to`; asking for what it is already is no error.
    async fn steer(
        &self,
        reach: &Reach,
        id: &str,
        from: &[ReplayStatus],
        to: ReplayStatus,
    ) -> Answer {
        let there = self.replay(reach, id).await?;
        let changed = self
            .store
            .set_replay_status(there.id, from, to, None, self.now());
        Reply::ok(&ReplayOut::from(&changed.await?))
    }

    /// The replay that `given` asks for, counted but not stored, and without a generation.
    async fn planned(&self, reach: &Reach, given: ReplayIn) -> Result<Replay, HttpError> {
        let rate = given.rate.map_or(self.options.replay_rate, Bounded::get);
        let now = self.now();
        let (selection, total) = match (given.dead_letter_ids, given.filter) {
            (Some(ids), None) => self.by_ids(reach, ids).await?,
            (None, Some(filter)) => self.by_filter(reach, filter, now).await?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(HttpError::body("filter", EITHER));
            }
        };
        let token = self.registry().snapshot();
        let token = token.token(reach.caller.grant().hash.as_bytes());
        Ok(Replay {
            id: ReplayId::new(),
            app_id: reach.app_id,
            selection,
            rate,
            status: ReplayStatus::Running,
            paused_because: None,
            total,
            done: 0,
            failed: 0,
            cursor: None,
            requested_by: token.map_or_else(String::new, |token| token.id.to_string()),
            generation: 0,
            created_at: now,
            updated_at: now,
        })
    }

    async fn by_ids(
        &self,
        reach: &Reach,
        mut ids: Vec<DeadLetterId>,
    ) -> Result<(Selection, u64), HttpError> {
        ids.sort();
        ids.dedup();
        let total = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        if ids.is_empty() || ids.len() > MAX_IDS {
            let expected = format!("expected 1 to {MAX_IDS} ids; for more use a filter");
            return Err(HttpError::body("deadLetterIds", expected));
        }
        for id in &ids {
            let there = self.dead_letter(reach, &id.to_string()).await;
            if there == Err(HttpError::NotFound) {
                return Err(HttpError::body(
                    "deadLetterIds",
                    format!("there is no dead letter {id}"),
                ));
            }
            if let Some(never) = NotReplayable::of(&there?) {
                let why = format!("dead letter {id} cannot be replayed: {}", never.why());
                return Err(HttpError::body("deadLetterIds", why));
            }
        }
        Ok((Selection::Ids(ids), total))
    }

    /// What the filter matches now, no replay has published and has its endpoint still. What dies later is not part of it.
    async fn by_filter(
        &self,
        reach: &Reach,
        given: FilterIn,
        now: Timestamp,
    ) -> Result<(Selection, u64), HttpError> {
        if let (Some(after), Some(before)) = (given.after, given.before)
            && before < after
        {
            return Err(HttpError::body(
                "filter",
                "before lies before after: nothing was given up in between",
            ));
        }
        let app = given.app_id.as_deref();
        let app_id = reach.narrowed(self, app, "body", "filter").await?;
        let endpoint = given.endpoint_id.as_deref();
        let bound = now.plus(Duration::from_millis(1));
        let filter = DeadLetterFilter {
            app_id,
            endpoint_id: self
                .endpoint_filter(app_id, endpoint, "body", "filter")
                .await?,
            event_type: given.event_type,
            after: given.after,
            before: Some(given.before.map_or(bound, |before| before.min(bound))),
            only_replayable: true,
        };
        let _turn = self.turn().await?;
        let total = self.store.count_dead_letters(&filter).await;
        let total = total.map_err(unavailable)?;
        if total == 0 && filter.endpoint_id.is_some() {
            self.refuse_deleted(&filter).await?;
        }
        Ok((Selection::Filter(filter), total))
    }

    /// Who asks for one endpoint, and gets nothing because that was deleted, is told so.
    async fn refuse_deleted(&self, filter: &DeadLetterFilter) -> Result<(), HttpError> {
        let filter = DeadLetterFilter {
            only_replayable: false,
            ..filter.clone()
        };
        let page = Page {
            limit: 1,
            start: PageStart::Beginning,
            order: Order::Descending,
        };
        let there = self.store.dead_letters(&filter, &page).await;
        match there.map_err(unavailable)?.first().map(NotReplayable::of) {
            Some(Some(never @ NotReplayable::Deleted(_))) => Err(HttpError::body(
                "filter",
                format!(
                    "no dead letter of this endpoint can be replayed: {}",
                    never.why()
                ),
            )),
            _ => Ok(()),
        }
    }
}
