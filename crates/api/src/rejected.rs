//! Records that were set aside: what lies in `events.rejected`, oldest first, and judging it again. For operators.
//!
//! They are read from the log itself, which keeps them for days: nothing of them is in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use postrider_http::{HttpError, InPath, Operator, Query, Slashed, not_taken};
use postrider_log::{BatchLimit, Durability, LogError, Purpose};
use postrider_model::topics::EVENTS_REJECTED;
use postrider_model::{
    NewRecord, Partition, Position, Record, RejectedId, Timestamp, TopicPartition, again,
};
use serde::Serialize;

use crate::Api;
use crate::reply::{Answer, Reply};

/// Records a page, unless asked for otherwise, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 250;
/// Bytes of a page's records, at most; one record is always read.
const PAGE_BYTES: usize = 4 << 20;
const BASE: &str = "/api/v1/rejected";

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed(BASE, get(list))
        .slashed(&format!("{BASE}/retry"), post(retry_all))
        .slashed(&format!("{BASE}/{{id}}"), get(read))
        .slashed(&format!("{BASE}/{{id}}/retry"), post(retry))
}

/// A record as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RejectedOut {
    id: RejectedId,
    /// What was wrong with it, in words.
    reason: Option<String>,
    /// Where it lay: `topic/partition@position`.
    origin: Option<String>,
    rejected_at: Timestamp,
    key: String,
    /// Those that it came with; what is not UTF-8 is shown as well as it can be.
    headers: BTreeMap<String, String>,
    /// Bytes of its value.
    size: usize,
    /// True if it was a record of `events` and was kept whole, so that it can be judged again.
    can_retry: bool,
    /// Its value, if it is text and was asked for alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl From<&Record> for RejectedOut {
    fn from(record: &Record) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // The last of its name is ours; one before it came with the record.
        let ours = |name: &str| {
            let named = record.headers.iter().rfind(|(given, _)| *given == name);
            named.map(|(_, value)| text(value))
        };
        let theirs = record.headers.iter();
        let theirs = theirs.filter(|(name, _)| !name.starts_with("postrider-"));
        Self {
            id: RejectedId::of_record(record),
            reason: ours("postrider-reason"),
            origin: ours("postrider-origin"),
            rejected_at: record.appended_at,
            key: text(&record.key),
            headers: theirs
                .map(|(name, value)| (name.to_owned(), text(value)))
                .collect(),
            size: record.value.len(),
            can_retry: again(record).is_some(),
            value: None,
        }
    }
}

/// What lies behind a place, and whether that is all.
struct Found {
    records: Vec<Record>,
    done: bool,
}

/// Where the topic ended, partition by partition.
type Ends = Vec<(Partition, Position)>;

/// A page that was asked for: how much, behind which place, and up to where.
struct Paging {
    limit: usize,
    from: (Partition, Position),
    /// Where the topic ended when the first page was asked for; none if this is the first, or further pages go on to the end
    /// as it is then.
    ends: Option<Ends>,
}

/// Between the place of an iterator and the ends.
const UP_TO: char = '~';

fn paging(query: Query) -> Result<Paging, HttpError> {
    let query = query.only(&["limit", "iterator"])?;
    let limit = match query.text("limit").map(str::parse) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => {
            let why = format!("expected 1 to {MAX_LIMIT}");
            return Err(HttpError::query("limit", why));
        }
    };
    let Some(text) = query.text("iterator") else {
        return Ok(Paging {
            limit,
            from: (0, 0),
            ends: None,
        });
    };
    let (from, ends) = behind(text)
        .ok_or_else(|| HttpError::query("iterator", "expected an iterator of an earlier answer"))?;
    Ok(Paging { limit, from, ends })
}

/// What an iterator says.
fn behind(iterator: &str) -> Option<((Partition, Position), Option<Ends>)> {
    let (after, ends) = match iterator.split_once(UP_TO) {
        Some((after, ends)) => (after, Some(ends)),
        None => (iterator, None),
    };
    let (partition, position) = after.parse::<RejectedId>().ok()?.place();
    let end = |one: &str| {
        let (partition, end) = one.split_once(':')?;
        Some((partition.parse().ok()?, end.parse().ok()?))
    };
    let ends = match ends {
        Some(ends) => Some(ends.split(',').map(end).collect::<Option<Ends>>()?),
        None => None,
    };
    Some(((partition, position + 1), ends))
}

/// An iterator that goes on behind a record, up to these ends.
fn up_to(after: RejectedId, ends: &Ends) -> String {
    let ends: Vec<String> = ends.iter().map(|(at, end)| format!("{at}:{end}")).collect();
    format!("{after}{UP_TO}{}", ends.join(","))
}

async fn list(State(api): State<Arc<Api>>, _: Operator, query: Query) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ListOut {
        data: Vec<RejectedOut>,
        iterator: Option<RejectedId>,
        done: bool,
    }
    let page = paging(query)?;
    let ends = api.ends_of_rejected().await?;
    let found = api.rejected(page.from, &ends, page.limit).await?;
    Reply::ok(&ListOut {
        data: found.records.iter().map(RejectedOut::from).collect(),
        iterator: found.records.last().map(RejectedId::of_record),
        done: found.done,
    })
}

async fn read(State(api): State<Arc<Api>>, _: Operator, InPath(id): InPath<String>) -> Answer {
    let record = api.one_rejected(&id).await?;
    Reply::ok(&RejectedOut {
        value: String::from_utf8(record.value.to_vec()).ok(),
        ..RejectedOut::from(&record)
    })
}

/// What a retry came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RetryOut {
    /// Records that are judged again now.
    retried: usize,
    /// Records that cannot be.
    skipped: usize,
    /// Where to go on, up to where the records ended when the first page was asked for: what is still wrong is set aside again
    /// behind that, and would be found without end.
    iterator: Option<String>,
    /// True if there is nothing behind it.
    done: bool,
}

async fn retry(State(api): State<Arc<Api>>, _: Operator, InPath(id): InPath<String>) -> Answer {
    let record = api.one_rejected(&id).await?;
    let Some(again) = again(&record) else {
        return Err(HttpError::Conflict(
            "this record cannot be judged again: it was no record of events, or was more than the log takes and is not kept whole"
                .to_owned(),
        ));
    };
    api.judge_again(vec![again]).await?;
    let out = RetryOut {
        retried: 1,
        skipped: 0,
        iterator: Some(RejectedId::of_record(&record).to_string()),
        done: true,
    };
    Reply::json(StatusCode::ACCEPTED, &out)
}

/// One page of them: whoever wants all goes on with the iterator until it is done.
async fn retry_all(State(api): State<Arc<Api>>, _: Operator, query: Query) -> Answer {
    let page = paging(query)?;
    let ends = match page.ends {
        Some(ends) => ends,
        None => api.ends_of_rejected().await?,
    };
    let found = api.rejected(page.from, &ends, page.limit).await?;
    let last = found.records.last().map(RejectedId::of_record);
    let records: Vec<NewRecord> = found.records.iter().filter_map(again).collect();
    let out = RetryOut {
        retried: records.len(),
        skipped: found.records.len() - records.len(),
        iterator: last.map(|last| up_to(last, &ends)),
        done: found.done,
    };
    api.judge_again(records).await?;
    Reply::json(StatusCode::ACCEPTED, &out)
}

impl Api {
    /// Where they end now, by partition.
    async fn ends_of_rejected(&self) -> Result<Ends, HttpError> {
        let mut ends = self.log.ends(EVENTS_REJECTED).await.map_err(unread)?;
        ends.sort_unstable();
        Ok(ends)
    }

    /// At most `limit` records from a place on, partition by partition, up to `ends`.
    async fn rejected(
        &self,
        (first, mut from): (Partition, Position),
        ends: &Ends,
        limit: usize,
    ) -> Result<Found, HttpError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for (partition, end) in ends.iter().copied().filter(|(number, _)| *number >= first) {
            let at = TopicPartition {
                topic: EVENTS_REJECTED,
                partition,
            };
            if partition > first {
                from = 0;
            }
            loop {
                if records.len() >= limit || bytes >= PAGE_BYTES {
                    return Ok(Found {
                        records,
                        done: false,
                    });
                }
                let left = BatchLimit {
                    records: limit - records.len(),
                    bytes: PAGE_BYTES - bytes,
                };
                let mut read = self.log.read(at, from, left).await.map_err(unread)?;
                read.retain(|record| record.position < end);
                let Some(last) = read.last() else { break };
                from = last.position + 1;
                bytes += read.iter().map(|record| record.value.len()).sum::<usize>();
                records.extend(read);
            }
        }
        Ok(Found {
            records,
            done: true,
        })
    }

    async fn one_rejected(&self, id: &str) -> Result<Record, HttpError> {
        let id: RejectedId = id.parse().map_err(|_| HttpError::NotFound)?;
        let (partition, position) = id.place();
        let at = TopicPartition {
            topic: EVENTS_REJECTED,
            partition,
        };
        let one = BatchLimit {
            records: 1,
            bytes: PAGE_BYTES,
        };
        let read = match self.log.read(at, position, one).await {
            Err(LogError::NoSuchTopic(_)) => return Err(HttpError::NotFound),
            read => read.map_err(unread)?,
        };
        // A position alone names nothing for good: it has to be the record that was shown.
        let found = read.into_iter().next();
        found
            .filter(|record| RejectedId::of_record(record) == id)
            .ok_or(HttpError::NotFound)
    }

    /// Gives records back to fan-out, which judges them once its registry is up to date.
    async fn judge_again(&self, records: Vec<NewRecord>) -> Result<(), HttpError> {
        let append = self
            .log
            .append(records, Durability::Synced, Purpose::Intake);
        let taken = append.await.map(drop);
        taken.map_err(|error| not_taken(error, "records to be judged again"))
    }
}

/// Why they cannot be shown.
fn unread(error: LogError) -> HttpError {
    match error {
        LogError::Busy(_) => HttpError::Unavailable(
            "the log does not answer at present, and rejected records lie there: try again in a moment".to_owned(),
        ),
        error => {
            tracing::error!(%error, "rejected records cannot be read");
            HttpError::Unavailable("the log has stopped and shows nothing: try again later".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_the_log_does_not_answer_speaks_of_reading_and_not_of_writing() {
        let busy = unread(LogError::Busy("testing".to_owned()));
        assert!(matches!(busy, HttpError::Unavailable(_)));
        assert!(busy.to_string().contains("does not answer"), "{busy}");
        let stopped = unread(LogError::Stopped(String::new())).to_string();
        assert!(!stopped.contains("judged"), "{stopped}");
    }
}
