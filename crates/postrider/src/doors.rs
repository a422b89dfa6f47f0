//! The listeners of the process, and what they answer when: the API where a role has routes, health and metrics in any
//! case, and before everything is opened that it is being opened.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tower::Service;

use crate::config::Config;
use crate::http::{self, Bounds};
use crate::roles::Roles;
use crate::routes::{self, Admin};
use crate::supervise::Stage;

/// Connections to the listener for health and metrics.
const ADMIN_CONNECTIONS: usize = 100;
const ADMIN_BOUNDS: Bounds = Bounds {
    connections: ADMIN_CONNECTIONS,
    first: http::FIRST_REQUEST,
    leave: Duration::ZERO,
    drain: Duration::from_secs(1),
};

/// The listeners.
pub(crate) struct Doors {
    /// Where the API is answered, if a role has routes.
    front: Option<Door<Switch>>,
    /// Where health and metrics are answered, if not there. To the end of the drain.
    admin: Option<Door<Router>>,
    /// The one of the two that other programs are told of.
    address: SocketAddr,
    switch: Switch,
    /// What is answered beside the API.
    beside: Router,
    timeout: Duration,
}

struct Door<S> {
    listener: TcpListener,
    service: S,
    bounds: Bounds,
}

impl Doors {
    /// Binds the listeners. Who connects waits until [`Doors::answer`].
    pub(crate) async fn bind(config: &Config, roles: &Roles, admin: Admin) -> anyhow::Result<Self> {
        let timeout = config.http.request_timeout;
        let admin = routes::admin(admin);
        let own = match (config.admin.listen, roles.have_routes()) {
            (Some(own), _) => Some((own, "admin.listen")),
            (None, false) => Some((config.listen, "listen")),
            (None, true) => None,
        };
        // Where health has a listener of its own, the other one has the API alone.
        let beside = match own {
            Some(_) => Router::new(),
            None => admin.clone(),
        };
        let switch = Switch::new(routes::starting(beside.clone()));
        let mut address = None;
        let mut front = None;
        if roles.have_routes() {
            let listener = bind(config.listen, "listen").await?;
            address = Some(listener.local_addr()?);
            front = Some(Door {
                listener,
                service: switch.clone(),
                bounds: Bounds {
                    connections: config.http.max_connections,
                    first: http::FIRST_REQUEST,
                    leave: config.http.leave,
                    drain: config.http.drain,
                },
            });
        }
        let mut own_door = None;
        if let Some((own, key)) = own {
            let listener = bind(own, key).await?;
            let own = listener.local_addr()?;
            tracing::info!(address = %own, "health and metrics are answered");
            address = address.or(Some(own));
            own_door = Some(Door {
                listener,
                service: routes::finish(admin, timeout),
                bounds: ADMIN_BOUNDS,
            });
        }
        Ok(Self {
            front,
            admin: own_door,
            address: address.context("no listener")?,
            switch,
            beside,
            timeout,
        })
    }

    /// Begins to answer; a second time it does nothing.
    pub(crate) fn answer(&mut self, front: &mut Stage, base: &mut Stage) {
        if let Some(door) = self.front.take() {
            front.spawn("listener", |shutdown| async move {
                http::serve(door.listener, door.service, door.bounds, shutdown).await;
                Ok(())
            });
        }
        if let Some(door) = self.admin.take() {
            base.spawn("admin listener", |shutdown| async move {
                http::serve(door.listener, door.service, door.bounds, shutdown).await;
                Ok(())
            });
        }
    }

    /// From now on these routes are answered.
    pub(crate) fn open(&self, api: Router) {
        let router = routes::finish(api.merge(self.beside.clone()), self.timeout);
        self.switch.to(router);
    }

    /// Where other programs find this process.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({key})"))
}

/// Answers with one router before everything is opened and with another one afterwards.
#[derive(Clone)]
struct Switch(Arc<Routers>);

struct Routers {
    before: Router,
    now: OnceLock<Router>,
}

impl Switch {
    fn new(before: Router) -> Self {
        let now = OnceLock::new();
        Self(Arc::new(Routers { before, now }))
    }

    /// Only the first time counts.
    fn to(&self, router: Router) {
        self.0.now.get_or_init(|| router);
    }
}

impl Service<Request<Incoming>> for Switch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Router as Service<Request<Incoming>>>::Future;

    /// A router always is.
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let router = self.0.now.get().unwrap_or(&self.0.before);
        router.clone().call(request)
    }
}
