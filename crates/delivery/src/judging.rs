//! Deliveries whose endpoint cannot be judged by the snapshot at hand.

use std::sync::Arc;

use futures::future::BoxFuture;
use postrider_model::TopicPartition;

use crate::{Endpoints, Freshness, Waiting};

/// Holds deliveries until a refresh that began after them has ended: those matched at a newer version than is known
/// here, and those whose endpoint is unknown or disabled, which is a verdict only on a fresh snapshot.
pub(crate) struct Judging {
    endpoints: Arc<dyn Endpoints>,
    /// Wait for the next refresh.
    next: Vec<Waiting>,
    /// Wait for the refresh that is under way.
    asked: Vec<Waiting>,
    refresh: Option<BoxFuture<'static, Freshness>>,
}

impl Judging {
    pub(crate) fn new(endpoints: Arc<dyn Endpoints>) -> Self {
        Self {
            endpoints,
            next: Vec::new(),
            asked: Vec::new(),
            refresh: None,
        }
    }

    /// Takes one that needs a fresh snapshot.
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.next.push(waiting);
    }

    /// Drops what does not lie where `keep` says, and returns its bytes.
    pub(crate) fn retain(&mut self, keep: impl Fn(TopicPartition) -> bool) -> usize {
        let mut dropped = 0;
        for waiting in [&mut self.next, &mut self.asked] {
            waiting.retain(|one| {
                let kept = keep(one.at);
                dropped += if kept { 0 } else { one.delivery.weight() };
                kept
            });
        }
        dropped
    }

    /// Begins a refresh, if one is needed and none is under way.
    pub(crate) fn ask(&mut self) {
        if self.refresh.is_some() || self.next.is_empty() {
            return;
        }
        self.asked = std::mem::take(&mut self.next);
        let endpoints = Arc::clone(&self.endpoints);
        self.refresh = Some(Box::pin(async move { endpoints.refresh().await }));
    }

    /// The end of the refresh that is under way, with those that waited for it; never, if none is.
    pub(crate) async fn judged(&mut self) -> (Freshness, Vec<Waiting>) {
        let Some(refresh) = &mut self.refresh else {
            return std::future::pending().await;
        };
        let freshness = refresh.await;
        self.refresh = None;
        (freshness, std::mem::take(&mut self.asked))
    }
}
