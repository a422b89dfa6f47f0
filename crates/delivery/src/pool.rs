//! Connections that are kept for the next attempt, bounded in total.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::Client;
use tower::util::MapResponseLayer;

use crate::http::NoClient;

type Build = dyn Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync;

/// A client that is replaced by a new one after so many connections.
///
/// `reqwest` bounds idle connections by host, not in total: a hundred thousand hosts with an event each would leave a
/// hundred thousand idle sockets. What a replaced client kept open is closed as soon as its last attempt has ended. Where
/// connections are used again, few are made, and no client is ever replaced.
pub(crate) struct Pool {
    build: Box<Build>,
    /// Connections that one client makes.
    most: usize,
    current: RwLock<Client>,
    /// Made by the current client.
    made: Arc<AtomicUsize>,
    replacing: AtomicBool,
}

impl Pool {
    /// A pool of clients that are all made by `build`.
    pub(crate) fn new(
        most: usize,
        build: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Result<Arc<Self>, NoClient> {
        let made = Arc::new(AtomicUsize::new(0));
        let build: Box<Build> = Box::new(build);
        let current = RwLock::new(client(&build, &made)?);
        Ok(Arc::new(Self {
            build,
            most,
            current,
            made,
            replacing: AtomicBool::new(false),
        }))
    }

    /// The client for the next attempt.
    pub(crate) fn client(self: &Arc<Self>) -> Client {
        if self.made.load(Ordering::Relaxed) >= self.most
            && !self.replacing.swap(true, Ordering::Relaxed)
        {
            let pool = Arc::clone(self);
            // Reads the root certificates from the disk.
            tokio::task::spawn_blocking(move || pool.replace());
        }
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self) {
        match client(&self.build, &self.made) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                self.made.store(0, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(%error, "the client is kept, with more connections than it should have")
            }
        }
        self.replacing.store(false, Ordering::Relaxed);
    }
}

fn client(build: &Build, made: &Arc<AtomicUsize>) -> Result<Client, NoClient> {
    let made = Arc::clone(made);
    let count = MapResponseLayer::new(move |connection| {
        made.fetch_add(1, Ordering::Relaxed);
        connection
    });
    Ok(build(Client::builder()).connector_layer(count).build()?)
}
