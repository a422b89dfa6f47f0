//! The customers' endpoints: receivers in this process that verify, remember, and fail as their part demands.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::api::{Api, text};
use super::orders;
use crate::http::{self, Bounds};
use crate::receiver::{Arrival, Behaviour, Receiver, Signature};

/// The application's uid.
pub(super) const APPLICATION: &str = "acme";
/// How often the endpoint that recovers fails first.
pub(super) const FAILURES: u64 = 2;

/// Who plays what.
pub(super) const CAST: [(&str, &str); 3] = [
    ("warehouse", "takes order.created and always answers"),
    ("billing", "takes invoice.paid, fails twice, then recovers"),
    ("legacy", "takes invoice.overdue and is down"),
];

/// What one endpoint received.
pub(super) struct Endpoint {
    /// `ep_…`
    pub(super) id: String,
    receiver: Arc<Receiver>,
    seen: Arc<Mutex<Seen>>,
}

/// What came, so far.
#[derive(Default)]
pub(super) struct Seen {
    /// When each `webhook-id` was first answered with success.
    pub(super) first: HashMap<String, Instant>,
    /// Answered with success again: repeats.
    pub(super) repeats: usize,
    /// Orders, by the number in the payload.
    pub(super) orders: HashSet<usize>,
    /// Requests whose signature was verified, and those whose was not.
    pub(super) verified: usize,
    pub(super) refused: usize,
    /// `webhook-id` of every request, answered well or not.
    pub(super) ids: HashSet<String>,
    /// Bytes of payloads.
    pub(super) bytes: usize,
}

impl Seen {
    fn take(&mut self, arrival: &Arrival) {
        match arrival.signature {
            Signature::Verified => self.verified += 1,
            Signature::Refused(_) | Signature::Unchecked => self.refused += 1,
        }
        let id = arrival.id.clone().unwrap_or_default();
        self.ids.insert(id.clone());
        if !arrival.answer.is_some_and(|status| status.is_success()) {
            return;
        }
        self.bytes += arrival.body.len();
        self.orders.extend(orders::number_in(&arrival.body));
        match self.first.entry(id) {
            Entry::Vacant(place) => {
                place.insert(Instant::now());
            }
            Entry::Occupied(_) => self.repeats += 1,
        }
    }
}

impl Endpoint {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change of what was seen is complete or harmless.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it answers well.
    pub(super) fn repair(&self) {
        self.receiver.repair();
    }
}

/// All three, registered with the server.
pub(super) struct Customers {
    pub(super) warehouse: Endpoint,
    pub(super) billing: Endpoint,
    pub(super) legacy: Endpoint,
    _running: tokio_util::sync::DropGuard,
}

impl Customers {
    /// Starts the receivers, and registers the application and its endpoints over the API.
    pub(super) async fn start(api: &Api) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        let application = json!({"name": "Acme", "uid": APPLICATION});
        api.post("/api/v1/app", &application).await?;
        let failing = |fail_first, fail_status| Behaviour {
            fail_first,
            fail_status,
            ..Behaviour::default()
        };
        let internal = StatusCode::INTERNAL_SERVER_ERROR;
        let down = failing(u64::MAX, StatusCode::SERVICE_UNAVAILABLE);
        Ok(Self {
            warehouse: endpoint(api, "order.created", Behaviour::default(), &shutdown).await?,
            billing: endpoint(api, "invoice.paid", failing(FAILURES, internal), &shutdown).await?,
            legacy: endpoint(api, "invoice.overdue", down, &shutdown).await?,
            _running: shutdown.drop_guard(),
        })
    }
}

async fn endpoint(
    api: &Api,
    event_type: &str,
    behaviour: Behaviour,
    shutdown: &CancellationToken,
) -> anyhow::Result<Endpoint> {
    // An endpoint may only choose among types that are registered.
    let registered = json!({"name": event_type, "description": "Of the demonstration"});
    api.post("/api/v1/event-type", &registered).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let secret = postrider_signing::Secret::generate();
    let body = json!({
        "url": format!("http://{}/hooks", listener.local_addr()?),
        "eventTypes": [event_type],
        "secret": *secret.to_whsec(),
    });
    let path = format!("/api/v1/app/{APPLICATION}/endpoint");
    let made = api.post(&path, &body).await?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let tell = {
        let seen = Arc::clone(&seen);
        move |arrival: Arrival| {
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(&arrival);
        }
    };
    let receiver = Receiver::new(std::slice::from_ref(&secret), behaviour, tell);
    let bounds = Bounds {
        first: http::FIRST_REQUEST,
        connections: 1000,
        leave: Duration::ZERO,
        drain: Duration::ZERO,
    };
    tokio::spawn(http::serve(
        listener,
        receiver.router(),
        bounds,
        shutdown.clone(),
    ));
    Ok(Endpoint {
        id: text(&made, "id")?.to_owned(),
        receiver,
        seen,
    })
}
