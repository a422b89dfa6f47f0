//! Reading history.
//!
//! A made id carries the time it was made, so it says in which partitions its rows can be; a derived one does not, and is
//! looked up in a table that is not partitioned, or in all partitions.

use std::future;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use postrider_model::{AppId, Attempt, AttemptId, Event, EventId, EventType, Timestamp};
use postrider_store::{
    AttemptFilter, EventFilter, EventRef, FannedOut, History, HistoryBatch, HistoryKey, Page,
    StatusFilter, StoreError, Tried,
};
use sqlx::{Postgres, QueryBuilder};

use super::errors::store_error;
use super::{PostgresStore, push_window, uuid, uuids};
use crate::metrics::{Operation, Skipped};
use crate::rows::{self, status_column};
use crate::window::Window;

/// How far the clock that made an event's id may be from the one that says when it was accepted.
const SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// When an event with this id can have been accepted.
fn accepted_between(id: EventId) -> (Timestamp, Timestamp) {
    match id.made_at() {
        Some(at) => (at.minus(SKEW), at.plus(SKEW)),
        None => (
            Timestamp::from_millis(i64::MIN),
            Timestamp::from_millis(i64::MAX),
        ),
    }
}

pub(super) fn events_listing(
    app_id: AppId,
    filter: &EventFilter,
    window: &Window<HistoryKey>,
) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT * FROM events WHERE app_id = ");
    query.push_bind(uuid(app_id));
    push_event_types(&mut query, &filter.event_types);
    if let Some(channel) = &filter.channel {
        query.push(" AND strpos(channels, ");
        query.push_bind(rows::channel_mark(channel));
        query.push(") > 0");
    }
    push_window(&mut query, "accepted_at", window);
    query
}

pub(super) fn attempts_listing(
    app_id: AppId,
    filter: &AttemptFilter,
    window: &Window<HistoryKey>,
) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT id, started_at, detail FROM attempts WHERE ");
    match (filter.event, filter.endpoint) {
        (Some(event), endpoint) => {
            query.push("event_id = ").push_bind(uuid(event));
            query.push(" AND started_at >= ");
            query.push_bind(accepted_between(event).0.as_millis());
            if let Some(endpoint) = endpoint {
                query.push(" AND endpoint_id = ").push_bind(uuid(endpoint));
            }
        }
        (None, Some(endpoint)) => {
            query.push("endpoint_id = ").push_bind(uuid(endpoint));
        }
        // Refused before.
        (None, None) => {
            query.push("false");
        }
    }
    query.push(" AND app_id = ").push_bind(uuid(app_id));
    push_attempt_filter(&mut query, filter);
    push_window(&mut query, "started_at", window);
    query
}

/// Each row asks for its event, and for a newer attempt, by itself: `OFFSET 0` keeps the planner from joining whole tables.
fn push_attempt_filter(query: &mut QueryBuilder<Postgres>, filter: &AttemptFilter) {
    if let Some(status) = filter.status {
        query
            .push(" AND (status = ")
            .push_bind(status_column(status));
        if !filter.or_failed_with.is_empty() {
            let codes = filter.or_failed_with.iter();
            query
                .push(" OR (status = ")
                .push_bind(status_column(StatusFilter::Failed));
            query.push(" AND status_code = ANY(");
            query.push_bind(codes.map(|code| i32::from(*code)).collect::<Vec<_>>());
            query.push("))");
        }
        query.push(")");
    }
    if let Some(class) = filter.status_class {
        let class = i64::from(class);
        query.push(" AND status_code >= ").push_bind(class * 100);
        query
            .push(" AND status_code < ")
            .push_bind(class * 100 + 100);
    }
    push_event_types(query, &filter.event_types);
    if let Some(channel) = &filter.channel {
        query.push(
            " AND EXISTS (SELECT 1 FROM events WHERE events.id = attempts.event_id \
             AND events.accepted_at = attempts.accepted_at AND strpos(channels, ",
        );
        query.push_bind(rows::channel_mark(channel));
        query.push(") > 0 OFFSET 0)");
    }
    if filter.only_newest {
        query.push(NO_NEWER);
    }
}

/// That no other attempt of the same event to the same endpoint comes after it. In one millisecond the one comes first that
/// another was to follow.
const NO_NEWER: &str = " AND NOT EXISTS (SELECT 1 FROM attempts AS newer \
    WHERE newer.event_id = attempts.event_id AND newer.started_at >= attempts.started_at \
    AND newer.endpoint_id = attempts.endpoint_id \
    AND (newer.started_at, newer.status <> 2, newer.id) > (attempts.started_at, attempts.status <> 2, attempts.id) \
    OFFSET 0)";

fn push_event_types(query: &mut QueryBuilder<Postgres>, event_types: &[EventType]) {
    if event_types.is_empty() {
        return;
    }
    let names = event_types.iter().map(|name| name.as_str().to_owned());
    query.push(" AND event_type = ANY(");
    query.push_bind(names.collect::<Vec<_>>());
    query.push(")");
}

/// Where the events of some ids can be: the derived ones as they were entered, the made ones by the time in them.
pub(super) const EVENTS_BY_ID: &str = "SELECT events.* FROM events WHERE app_id = $1 AND id = ANY($2) \
        AND accepted_at BETWEEN $3 AND $4 \
    UNION ALL SELECT events.* FROM derived_events JOIN events USING (id, accepted_at) \
        WHERE derived_events.id = ANY($5) AND app_id = $1";

pub(super) const FANOUTS_OF: &str =
    "SELECT * FROM fanouts WHERE event_id = $1 AND app_id = $2 AND accepted_at BETWEEN $3 AND $4";

pub(super) const ATTEMPT_BY_ID: &str = "SELECT detail FROM attempts WHERE event_id = $1 AND id = $2 AND app_id = $3 \
    AND started_at >= $4 ORDER BY started_at DESC LIMIT 1";

pub(super) const TRIED: &str = "SELECT endpoint_id, max(started_at) AS last_at FROM attempts \
    WHERE event_id = $1 AND app_id = $2 AND started_at >= $3 GROUP BY endpoint_id ORDER BY endpoint_id";

/// The attempts that started when the newest of each of these endpoints did: one each, or a few of one millisecond. Each is
/// looked up by itself; the interval tells which partitions are not needed.
pub(super) const LATEST: &str = "SELECT id, detail FROM UNNEST($1::uuid[], $2::bigint[]) AS asked (endpoint, at) \
    CROSS JOIN LATERAL (SELECT id, detail FROM attempts WHERE endpoint_id = asked.endpoint AND started_at = asked.at \
        AND started_at BETWEEN $3 AND $4 AND event_id = $5 AND app_id = $6 OFFSET 0) AS found";

pub(super) const EVENT_BY_UID: &str =
    "SELECT * FROM events WHERE app_id = $1 AND uid = $2 ORDER BY accepted_at DESC LIMIT 1";

impl PostgresStore {
    async fn find_events(&self, app_id: AppId, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let (derived, made): (Vec<EventId>, Vec<EventId>) =
            ids.iter().partition(|id| id.is_derived());
        let times = made.iter().map(|id| accepted_between(*id));
        // An empty interval if there are none.
        let least = (
            Timestamp::from_millis(i64::MAX),
            Timestamp::from_millis(i64::MIN),
        );
        let (from, to) = times.fold(least, |all, one| (all.0.min(one.0), all.1.max(one.1)));
        let found = sqlx::query(EVENTS_BY_ID)
            .bind(uuid(app_id))
            .bind(uuids(&made))
            .bind(from.as_millis())
            .bind(to.as_millis())
            .bind(uuids(&derived))
            .persistent(false)
            .fetch_all(&self.pool)
            .await
            .map_err(store_error)?;
        Ok(self.metrics.readable(Skipped::Event, &found, rows::event))
    }
}

#[async_trait]
impl History for PostgresStore {
    async fn record(&self, batch: &HistoryBatch) -> Result<(), StoreError> {
        self.timed(Operation::HistoryWrite, self.write_history(batch))
            .await
    }

    async fn event(&self, app_id: AppId, by: &EventRef) -> Result<Option<Event>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let uid = match by {
                EventRef::Id(id) => return Ok(self.find_events(app_id, &[*id]).await?.pop()),
                EventRef::Uid(uid) => uid,
            };
            let row = sqlx::query(EVENT_BY_UID)
                .bind(uuid(app_id))
                .bind(uid.as_str())
                .persistent(false)
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.as_ref().map(rows::event).transpose()
        })
        .await
    }

    async fn events(
        &self,
        app_id: AppId,
        filter: &EventFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<Event>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let window = Window::of(page).between(filter.after, filter.before);
            let listed = self.listed(
                window,
                Skipped::Event,
                |window| events_listing(app_id, filter, window),
                rows::event,
                |row| rows::history_key(row, "accepted_at"),
            );
            listed.await
        })
        .await
    }

    async fn events_by_id(&self, app_id: AppId, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        self.timed(Operation::HistoryRead, self.find_events(app_id, ids))
            .await
    }

    async fn fanned_out(
        &self,
        app_id: AppId,
        event: EventId,
    ) -> Result<Option<FannedOut>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let (from, to) = accepted_between(event);
            let parts = sqlx::query(FANOUTS_OF)
                .bind(uuid(event))
                .bind(uuid(app_id))
                .bind(from.as_millis())
                .bind(to.as_millis())
                .persistent(false)
                .fetch_all(&self.pool)
                .await
                .map_err(store_error)?;
            rows::fanned_out(&parts)
        })
        .await
    }

    async fn attempts(
        &self,
        app_id: AppId,
        filter: &AttemptFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<Attempt>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            rows::names_event_or_endpoint(filter)?;
            let window = Window::of(page).between(filter.after, filter.before);
            if filter.all_readable {
                let mut query = attempts_listing(app_id, filter, &window);
                let found = query.build().persistent(false).fetch_all(&self.pool);
                let found = found.await.map_err(store_error)?;
                let found = found.iter().map(rows::attempt).collect::<Result<_, _>>()?;
                return Ok(window.arrange(found));
            }
            let listed = self.listed(
                window,
                Skipped::Attempt,
                |window| attempts_listing(app_id, filter, window),
                rows::attempt,
                |row| rows::history_key(row, "started_at"),
            );
            listed.await
        })
        .await
    }

    async fn attempt(
        &self,
        app_id: AppId,
        event: EventId,
        id: AttemptId,
    ) -> Result<Option<Attempt>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let row = sqlx::query(ATTEMPT_BY_ID)
                .bind(uuid(event))
                .bind(uuid(id))
                .bind(uuid(app_id))
                .bind(accepted_between(event).0.as_millis())
                .persistent(false)
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.as_ref().map(rows::attempt).transpose()
        })
        .await
    }

    async fn tried(&self, app_id: AppId, event: EventId) -> Result<Vec<Tried>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let found = sqlx::query(TRIED)
                .bind(uuid(event))
                .bind(uuid(app_id))
                .bind(accepted_between(event).0.as_millis())
                .persistent(false)
                .fetch(&self.pool);
            let found = found.map_err(store_error);
            let tried = found.and_then(|row| future::ready(rows::tried(&row)));
            tried.try_collect().await
        })
        .await
    }

    async fn latest_attempts(
        &self,
        app_id: AppId,
        event: EventId,
        of: &[Tried],
    ) -> Result<Vec<Attempt>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let endpoints: Vec<_> = of.iter().map(|tried| uuid(tried.endpoint)).collect();
            let times: Vec<i64> = of.iter().map(|tried| tried.last_at.as_millis()).collect();
            let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else {
                return Ok(Vec::new());
            };
            let found = sqlx::query(LATEST)
                .bind(endpoints)
                .bind(&times)
                .bind(first)
                .bind(last)
                .bind(uuid(event))
                .bind(uuid(app_id))
                .persistent(false)
                .fetch_all(&self.pool)
                .await
                .map_err(store_error)?;
            let attempts = self
                .metrics
                .readable(Skipped::Attempt, &found, rows::attempt);
            Ok(rows::newest_by_endpoint(attempts))
        })
        .await
    }

    async fn delete_events(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.timed(Operation::Retention, self.expunge_events(before, limit))
            .await
    }

    async fn delete_attempts(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.timed(Operation::Retention, self.expunge_attempts(before, limit))
            .await
    }
}
