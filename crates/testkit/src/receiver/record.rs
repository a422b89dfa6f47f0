//! What came in, and what each path is to answer.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::wire::Received;
use super::{Behaviour, Recording, Stats};
use crate::quantiles::Quantiles;
use crate::{Checked, now_us, verify};

/// One request that came.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The path that it came to.
    pub path: Arc<str>,
    /// Its `webhook-id`.
    pub event: Box<str>,
    /// Its `webhook-timestamp`, in seconds since 1970; 0 if there was none.
    pub timestamp: u64,
    /// When it had come in whole.
    pub at: Instant,
    /// How long before that it was signed; up to a second less, because `timestamp` has no fractions. Zero without one.
    pub on_its_way: Duration,
    /// When its answer had gone out; `None` while there is none.
    pub answered: Option<Instant>,
    /// When it was over: its answer had gone out, or the client had given it up; `None` while it is open.
    pub over: Option<Instant>,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
    /// The running number that the load generator gave it.
    pub number: Option<u64>,
    /// A hash of the body: equal bodies have equal ones.
    pub body_hash: u64,
    /// What its signature turned out to be.
    pub signature: Checked,
    /// Which connection brought it, counted from 0.
    pub connection: u64,
    /// The client's port of that connection: tells who sent it, where there are several ([`crate::ports_of`]).
    pub port: u16,
}

/// A connection as it was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) connection: u64,
    pub(super) port: u16,
}

/// A path of the receiver.
#[derive(Debug)]
pub(super) struct Route {
    path: Arc<str>,
    behaviour: Mutex<Behaviour>,
    secret: Mutex<Option<String>>,
    turns: AtomicU64,
    open: AtomicU64,
    /// From the moment that the client meant to send until it came, in µs.
    delays_us: Mutex<Vec<u32>>,
    kept: Mutex<Vec<Received>>,
}

/// A request that is being answered.
pub(super) struct Turn {
    pub(super) route: Arc<Route>,
    pub(super) behaviour: Behaviour,
    pub(super) number: u64,
    index: Option<usize>,
}

/// All that a receiver knows.
#[derive(Debug)]
pub(super) struct Shared {
    recording: Recording,
    /// Connections that are open.
    pub(super) connections: AtomicU64,
    routes: RwLock<HashMap<Arc<str>, Arc<Route>>>,
    pub(super) arrivals: Mutex<Vec<Arrival>>,
}

/// A lock that a panicking test left behind still guards whole data: each change is one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(recording: Recording) -> Self {
        Self {
            recording,
            connections: AtomicU64::new(0),
            routes: RwLock::default(),
            arrivals: Mutex::default(),
        }
    }

    pub(super) fn route(&self, path: &str) -> Arc<Route> {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = known.get(path) {
            return Arc::clone(route);
        }
        drop(known);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let path: Arc<str> = path.into();
        let route = routes.entry(Arc::clone(&path)).or_insert_with(|| {
            Arc::new(Route {
                behaviour: Mutex::new(Behaviour::of_path(&path)),
                path,
                secret: Mutex::default(),
                turns: AtomicU64::new(0),
                open: AtomicU64::new(0),
                delays_us: Mutex::default(),
                kept: Mutex::default(),
            })
        });
        Arc::clone(route)
    }

    pub(super) fn arrive(&self, request: &Received, peer: Peer) -> Turn {
        let route = self.route(request.path_text());
        route.open.fetch_add(1, Ordering::Relaxed);
        let (number, meant) = marks(&request.body);
        if let Some(meant) = meant {
            let delay = now_us().saturating_sub(meant);
            lock(&route.delays_us).push(u32::try_from(delay).unwrap_or(u32::MAX));
        }
        let index = (self.recording != Recording::Delays).then(|| {
            if self.recording == Recording::Requests {
                lock(&route.kept).push(request.clone());
            }
            let arrival = arrival(request, &route, number, peer);
            let mut arrivals = lock(&self.arrivals);
            arrivals.push(arrival);
            arrivals.len() - 1
        });
        let behaviour = lock(&route.behaviour).clone();
        Turn {
            behaviour,
            number: route.turns.fetch_add(1, Ordering::Relaxed),
            route,
            index,
        }
    }

    /// The answer of `turn` has gone out with `status`, or never will (0).
    pub(super) fn answered(&self, turn: &Turn, status: u16) {
        turn.route.open.fetch_sub(1, Ordering::Relaxed);
        let Some(index) = turn.index else { return };
        if let Some(arrival) = lock(&self.arrivals).get_mut(index) {
            arrival.status = status;
            arrival.over = Some(Instant::now());
            arrival.answered = arrival.over.filter(|_| status != 0);
        }
    }

    /// What came to the paths that begin with `prefix`.
    pub(super) fn stats(&self, prefix: &str) -> Stats {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut stats = Stats::default();
        let mut delays = Vec::new();
        for route in routes.values().filter(|one| one.path.starts_with(prefix)) {
            stats.arrived += route.turns.load(Ordering::Relaxed);
            stats.open += route.open.load(Ordering::Relaxed);
            delays.extend(lock(&route.delays_us).iter().map(|us| u64::from(*us)));
        }
        stats.delay = Quantiles::of(delays);
        stats
    }

    /// Forgets what came, but not what is to be answered.
    pub(super) fn clear(&self) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        for route in routes.values() {
            route.turns.store(0, Ordering::Relaxed);
            lock(&route.delays_us).clear();
            lock(&route.kept).clear();
        }
    }
}

impl Route {
    pub(super) fn set_behaviour(&self, behaviour: Behaviour) {
        *lock(&self.behaviour) = behaviour;
    }

    pub(super) fn set_secret(&self, secret: &str) {
        *lock(&self.secret) = Some(secret.to_owned());
    }

    pub(super) fn kept(&self) -> Vec<Received> {
        lock(&self.kept).clone()
    }

    fn check(&self, request: &Received) -> Checked {
        let secret = lock(&self.secret);
        let Some(secret) = secret.as_deref() else {
            return Checked::Not;
        };
        let good = verify(
            secret,
            request.text("webhook-id"),
            request.text("webhook-timestamp"),
            &request.body,
            request.text("webhook-signature"),
        );
        if good { Checked::Good } else { Checked::Bad }
    }
}

fn arrival(request: &Received, route: &Route, number: Option<u64>, peer: Peer) -> Arrival {
    let mut hasher = DefaultHasher::new();
    request.body.hash(&mut hasher);
    let timestamp = request.text("webhook-timestamp").parse();
    let signed = timestamp.as_ref().ok().copied().map(Duration::from_secs);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let on_its_way = signed
        .zip(now.ok())
        .map(|(signed, now)| now.saturating_sub(signed));
    Arrival {
        path: Arc::clone(&route.path),
        event: request.text("webhook-id").into(),
        timestamp: timestamp.unwrap_or_default(),
        at: Instant::now(),
        on_its_way: on_its_way.unwrap_or_default(),
        answered: None,
        over: None,
        status: 0,
        number,
        body_hash: hasher.finish(),
        signature: route.check(request),
        connection: peer.connection,
        port: peer.port,
    }
}

/// The running number of an event, and when it was meant to be sent, if the load generator wrote them:
/// its payloads begin with `{"n":1,"meant":2,`.
fn marks(body: &[u8]) -> (Option<u64>, Option<u64>) {
    let Some(rest) = body.strip_prefix(b"{\"n\":") else {
        return (None, None);
    };
    let (number, rest) = leading_number(rest);
    let meant = rest
        .strip_prefix(b",\"meant\":")
        .map(|rest| leading_number(rest).0);
    (Some(number), meant)
}

fn leading_number(text: &[u8]) -> (u64, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = text[..digits].iter().fold(0_u64, |sum, byte| {
        sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'))
    });
    (number, &text[digits..])
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn the_marks_of_the_load_generator_are_read_and_other_bodies_have_none() {
        assert_eq!(
            marks(b"{\"n\":7,\"meant\":12345,\"pad\":\"x\"}"),
            (Some(7), Some(12345))
        );
        assert_eq!(marks(b"{\"n\":7}"), (Some(7), None));
        assert_eq!(marks(b"[1,2]"), (None, None));
    }
}
