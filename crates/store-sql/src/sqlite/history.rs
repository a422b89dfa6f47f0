//! Reading history.

use std::future;

use async_trait::async_trait;
use futures::TryStreamExt;
use postrider_model::{AppId, Attempt, AttemptId, Event, EventId, EventType, Timestamp};
use postrider_store::{
    AttemptFilter, EventFilter, EventRef, FannedOut, History, HistoryBatch, HistoryKey, Page,
    StatusFilter, StoreError, Tried,
};
use sqlx::{QueryBuilder, Sqlite};

use super::{IDS_AT_ONCE, SqliteStore, push_ids, push_window};
use crate::columns::blob;
use crate::error::store_error;
use crate::metrics::{Operation, Skipped};
use crate::rows::{self, status_column};
use crate::window::Window;

// A `+` before a column keeps the planner from choosing an index by it: the one that gives the order is the right one.

pub(super) fn events_listing(
    app_id: AppId,
    filter: &EventFilter,
    window: &Window<HistoryKey>,
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM events WHERE app_id = ");
    query.push_bind(blob(app_id));
    push_event_types(&mut query, &filter.event_types);
    if let Some(channel) = &filter.channel {
        query.push(" AND instr(channels, ");
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
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT id, started_at, detail FROM attempts WHERE ");
    match (filter.event, filter.endpoint) {
        (Some(event), endpoint) => {
            query.push("event_id = ").push_bind(blob(event));
            if let Some(endpoint) = endpoint {
                query.push(" AND +endpoint_id = ").push_bind(blob(endpoint));
            }
        }
        (None, Some(endpoint)) => {
            query.push("endpoint_id = ").push_bind(blob(endpoint));
        }
        // Refused before.
        (None, None) => {
            query.push("false");
        }
    }
    query.push(" AND +app_id = ").push_bind(blob(app_id));
    push_attempt_filter(&mut query, filter);
    push_window(&mut query, "started_at", window);
    query
}

fn push_attempt_filter(query: &mut QueryBuilder<Sqlite>, filter: &AttemptFilter) {
    if let Some(status) = filter.status {
        query
            .push(" AND (status = ")
            .push_bind(status_column(status));
        if !filter.or_failed_with.is_empty() {
            query
                .push(" OR (status = ")
                .push_bind(status_column(StatusFilter::Failed));
            query.push(" AND status_code IN (");
            let mut list = query.separated(", ");
            for code in &filter.or_failed_with {
                list.push_bind(i64::from(*code));
            }
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
            " AND EXISTS (SELECT 1 FROM events WHERE events.id = attempts.event_id AND instr(channels, ",
        );
        query.push_bind(rows::channel_mark(channel));
        query.push(") > 0)");
    }
    if filter.only_newest {
        query.push(NO_NEWER);
    }
}

/// That no other attempt of the same event to the same endpoint comes after it. In one millisecond the one comes first that
/// another was to follow.
const NO_NEWER: &str = " AND NOT EXISTS (SELECT 1 FROM attempts AS newer \
    WHERE newer.event_id = attempts.event_id AND newer.started_at >= attempts.started_at \
    AND +newer.endpoint_id = attempts.endpoint_id \
    AND (newer.started_at, newer.status <> 2, newer.id) > (attempts.started_at, attempts.status <> 2, attempts.id))";

fn push_event_types(query: &mut QueryBuilder<Sqlite>, event_types: &[EventType]) {
    if event_types.is_empty() {
        return;
    }
    query.push(" AND +event_type IN (");
    let mut list = query.separated(", ");
    for event_type in event_types {
        list.push_bind(event_type.as_str().to_owned());
    }
    query.push(")");
}

pub(super) const TRIED: &str = "SELECT endpoint_id, max(started_at) AS last_at FROM attempts \
    WHERE event_id = ? AND +app_id = ? GROUP BY endpoint_id ORDER BY endpoint_id";

/// The attempts that started when the newest of each of these endpoints did: one each, or a few of one millisecond.
pub(super) fn latest_of(app_id: AppId, event: EventId, of: &[Tried]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("WITH asked (endpoint, at) AS (");
    query.push_values(of, |mut row, tried| {
        row.push_bind(blob(tried.endpoint));
        row.push_bind(tried.last_at.as_millis());
    });
    query.push(
        ") SELECT id, detail FROM asked CROSS JOIN attempts \
         ON attempts.endpoint_id = asked.endpoint AND attempts.started_at = asked.at WHERE +event_id = ",
    );
    query.push_bind(blob(event));
    query.push(" AND +app_id = ").push_bind(blob(app_id));
    query
}

#[async_trait]
impl History for SqliteStore {
    async fn record(&self, batch: &HistoryBatch) -> Result<(), StoreError> {
        self.timed(Operation::HistoryWrite, self.write_history(batch))
            .await
    }

    async fn event(&self, app_id: AppId, by: &EventRef) -> Result<Option<Event>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let query = match by {
                EventRef::Id(id) => {
                    sqlx::query("SELECT * FROM events WHERE id = ? AND +app_id = ?")
                        .bind(blob(*id))
                        .bind(blob(app_id))
                }
                EventRef::Uid(uid) => sqlx::query(
                    "SELECT * FROM events WHERE app_id = ? AND uid = ? ORDER BY accepted_at DESC LIMIT 1",
                )
                .bind(blob(app_id))
                .bind(uid.as_str().to_owned()),
            };
            let row = query.fetch_optional(&mut *self.reader().await?).await;
            let row = row.map_err(store_error)?;
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
        self.timed(Operation::HistoryRead, async {
            let mut events = Vec::with_capacity(ids.len());
            for ids in ids.chunks(IDS_AT_ONCE) {
                let mut query = QueryBuilder::new("SELECT * FROM events WHERE +app_id = ");
                query.push_bind(blob(app_id));
                push_ids(&mut query, ids.iter().map(|id| blob(*id)));
                let mut reader = self.reader().await?;
                let found = query.build().persistent(false).fetch_all(&mut *reader);
                let found = found.await.map_err(store_error)?;
                events.extend(self.metrics.readable(Skipped::Event, &found, rows::event));
            }
            Ok(events)
        })
        .await
    }

    async fn fanned_out(
        &self,
        app_id: AppId,
        event: EventId,
    ) -> Result<Option<FannedOut>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let parts = sqlx::query("SELECT * FROM fanouts WHERE event_id = ? AND app_id = ?")
                .bind(blob(event))
                .bind(blob(app_id))
                .fetch_all(&mut *self.reader().await?)
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
                let mut reader = self.reader().await?;
                let found = query.build().persistent(false).fetch_all(&mut *reader);
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
            let row = sqlx::query(
                "SELECT detail FROM attempts WHERE event_id = ? AND id = ? AND +app_id = ? \
                 ORDER BY started_at DESC LIMIT 1",
            )
            .bind(blob(event))
            .bind(blob(id))
            .bind(blob(app_id))
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(store_error)?;
            row.as_ref().map(rows::attempt).transpose()
        })
        .await
    }

    async fn tried(&self, app_id: AppId, event: EventId) -> Result<Vec<Tried>, StoreError> {
        self.timed(Operation::HistoryRead, async {
            let mut reader = self.reader().await?;
            let found = sqlx::query(TRIED)
                .bind(blob(event))
                .bind(blob(app_id))
                .fetch(&mut *reader);
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
            let mut attempts = Vec::with_capacity(of.len());
            for of in of.chunks(IDS_AT_ONCE) {
                let mut query = latest_of(app_id, event, of);
                let mut reader = self.reader().await?;
                let found = query.build().persistent(false).fetch_all(&mut *reader);
                let found = found.await.map_err(store_error)?;
                let readable = self
                    .metrics
                    .readable(Skipped::Attempt, &found, rows::attempt);
                attempts.extend(readable);
            }
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
