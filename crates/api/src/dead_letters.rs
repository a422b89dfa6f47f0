//! Dead letters: of all applications for operators, of one for its own token.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use postrider_http::{Fault, HttpError, MessageOut, Query, Slashed, endpoint_ref, unavailable};
use postrider_model::{
    AppId, DeadLetterId, DeliveryId, EndpointId, Event, EventId, EventOrigin, EventType, ReplayId,
    Timestamp,
};
use postrider_store::{
    DeadLetterFilter, Deleted, EndpointRef, HistoryKey, Order, StoredDeadLetter,
};
use serde::Serialize;

use crate::Api;
use crate::page::{PAGING, Paging};
use crate::reach::{LastId, Reach};
use crate::reply::{Answer, Reply};
use crate::weighed::weight;

pub(crate) fn routes() -> Router<Arc<Api>> {
    let mut routes = Router::new();
    for base in ["/api/v1/dead-letter", "/api/v1/app/{app_id}/dead-letter"] {
        routes = routes
            .slashed(base, get(list))
            .slashed(&format!("{base}/{{id}}"), get(read).delete(delete));
    }
    routes
}

/// A dead letter as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetterOut<'a> {
    id: DeadLetterId,
    app_id: AppId,
    endpoint_id: EndpointId,
    msg_id: EventId,
    event_type: &'a EventType,
    delivery_id: DeliveryId,
    reason: &'static str,
    /// Attempts of the schedule's last run.
    attempts: u32,
    /// When it was given up.
    timestamp: Timestamp,
    accepted_at: Timestamp,
    outcome: Option<&'static str>,
    response_status_code: Option<u16>,
    error: Option<&'a str>,
    /// It was too large for the log: `payload` is missing in its event, and it cannot be replayed.
    payload_left_out: bool,
    /// Why no replay takes it, if none does.
    not_replayable: Option<&'static str>,
    replay_id: Option<ReplayId>,
    replayed_at: Option<Timestamp>,
}

impl<'a> From<&'a StoredDeadLetter> for DeadLetterOut<'a> {
    fn from(stored: &'a StoredDeadLetter) -> Self {
        let (letter, delivery) = (&stored.letter, &stored.letter.delivery);
        Self {
            id: letter.id,
            app_id: delivery.app_id,
            endpoint_id: delivery.endpoint_id,
            msg_id: delivery.event_id,
            event_type: &delivery.event_type,
            delivery_id: delivery.id,
            reason: letter.reason.label(),
            attempts: delivery.attempts_made,
            timestamp: letter.died_at,
            accepted_at: delivery.accepted_at,
            outcome: letter.last_outcome.map(|outcome| outcome.label()),
            response_status_code: letter.last_status_code,
            error: Some(letter.last_error.as_str()).filter(|error| !error.is_empty()),
            payload_left_out: letter.payload_left_out,
            not_replayable: NotReplayable::of(stored).map(NotReplayable::label),
            replay_id: stored.replayed.map(|(id, _)| id),
            replayed_at: stored.replayed.map(|(_, at)| at),
        }
    }
}

/// Why no replay will ever deliver a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReplayable {
    Deleted(Deleted),
    PayloadLeftOut,
}

impl NotReplayable {
    pub(crate) fn of(stored: &StoredDeadLetter) -> Option<Self> {
        let left_out = stored.letter.payload_left_out;
        let deleted = stored.deleted.map(Self::Deleted);
        deleted.or(left_out.then_some(Self::PayloadLeftOut))
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Deleted(deleted) => deleted.label(),
            Self::PayloadLeftOut => "payload_left_out",
        }
    }

    /// In words.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Deleted(Deleted::Application) => "its application was deleted",
            Self::Deleted(Deleted::Endpoint) => "its endpoint was deleted",
            Self::PayloadLeftOut => {
                "its payload was left out, being more than the log takes; resend the event instead"
            }
        }
    }
}

/// What dead letters are told apart by.
const FILTER: [&str; 5] = ["app_id", "endpoint_id", "event_type", "after", "before"];

/// The filter that a query asks for, within the caller's reach.
async fn filter(api: &Api, reach: &Reach, query: &Query) -> Result<DeadLetterFilter, HttpError> {
    let app = query.filter("app_id")?;
    let app_id = reach.narrowed(api, app, "query", "app_id").await?;
    let endpoint = query.filter("endpoint_id")?;
    Ok(DeadLetterFilter {
        app_id,
        endpoint_id: api
            .endpoint_filter(app_id, endpoint, "query", "endpoint_id")
            .await?,
        event_type: query.get("event_type")?,
        after: query.time("after")?,
        before: query.time("before")?,
        only_replayable: false,
    })
}

async fn list(State(api): State<Arc<Api>>, reach: Reach, query: Query) -> Answer {
    let query = query.only(&[&FILTER[..], &PAGING].concat())?;
    let mut paging = Paging::of(&query, Order::Descending)?;
    let filter = filter(&api, &reach, &query).await?;
    let (store, filter) = (&api.store, &filter);
    let ask = |page| async move {
        let letters = store.dead_letters(filter, &page).await;
        letters.map_err(unavailable)
    };
    let weigh = |one: &mut StoredDeadLetter| weight(&mut one.letter.delivery.payload, false);
    let _turn = api.turn().await?;
    let page = paging.weighed(key, weigh, ask).await?;
    Reply::ok(&paging.listed(&page, key, |one| Some(DeadLetterOut::from(one))))
}

/// One dead letter, with the event that it carries.
async fn read(
    State(api): State<Arc<Api>>,
    reach: Reach,
    LastId(id): LastId,
    query: Query,
) -> Answer {
    #[derive(Serialize)]
    struct WithEvent<'a> {
        #[serde(flatten)]
        letter: DeadLetterOut<'a>,
        msg: MessageOut<'a>,
    }
    let with_content = query.flag("with_content", true)?;
    let stored = api.dead_letter(&reach, &id).await?;
    let event = event_in(&stored);
    Reply::ok(&WithEvent {
        letter: DeadLetterOut::from(&stored),
        msg: MessageOut::of(&event, with_content),
    })
}

async fn delete(State(api): State<Arc<Api>>, reach: Reach, LastId(id): LastId) -> Answer {
    let stored = api.dead_letter(&reach, &id).await?;
    api.store.delete_dead_letter(stored.letter.id).await?;
    Ok(Reply::nothing())
}

fn key(stored: &StoredDeadLetter) -> HistoryKey {
    HistoryKey {
        at: stored.letter.died_at,
        id: *stored.letter.id.as_bytes(),
    }
}

/// The event as the delivery carries it: its channels and uid stayed behind.
fn event_in(stored: &StoredDeadLetter) -> Event {
    let delivery = &stored.letter.delivery;
    Event {
        id: delivery.event_id,
        app_id: delivery.app_id,
        event_type: delivery.event_type.clone(),
        channels: Vec::new(),
        uid: None,
        content_type: delivery.content_type.clone(),
        payload: delivery.payload.clone(),
        accepted_at: delivery.accepted_at,
        trace: None,
        origin: EventOrigin::Accepted,
    }
}

impl Api {
    /// A dead letter within the caller's reach.
    pub(crate) async fn dead_letter(
        &self,
        reach: &Reach,
        id: &str,
    ) -> Result<StoredDeadLetter, HttpError> {
        let id: DeadLetterId = id.parse().map_err(|_| HttpError::NotFound)?;
        let found = self.store.dead_letter(id).await.map_err(unavailable)?;
        found
            .filter(|stored| reach.covers(Some(stored.letter.delivery.app_id)))
            .ok_or(HttpError::NotFound)
    }

    /// The endpoint that a filter names. By uid only within one application; by id also one that was deleted, whose dead
    /// letters are still there.
    pub(crate) async fn endpoint_filter(
        &self,
        app_id: Option<AppId>,
        given: Option<&str>,
        place: &'static str,
        field: &'static str,
    ) -> Result<Option<EndpointId>, HttpError> {
        let Some(given) = given else { return Ok(None) };
        let refused = |why| HttpError::Invalid(vec![Fault::new(place, field, why)]);
        let Ok(by) = endpoint_ref(given) else {
            return Err(refused("expected an endpoint's id or uid"));
        };
        match (by, app_id) {
            (EndpointRef::Id(id), _) => Ok(Some(id)),
            (by @ EndpointRef::Uid(_), Some(app_id)) => {
                Ok(Some(self.endpoint(app_id, &by).await?.id))
            }
            (EndpointRef::Uid(_), None) => {
                let why = "a uid names an endpoint only within an application: name that too, or use the endpoint's id";
                Err(refused(why))
            }
        }
    }
}
