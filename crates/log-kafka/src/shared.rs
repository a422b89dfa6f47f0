//! What every part of one log shares.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use postrider_log::Group;
use rdkafka::error::KafkaResult;

use crate::Options;
use crate::catalog::Catalog;
use crate::inspector::Inspector;
use crate::member::Member;
use crate::producer::Producer;
use crate::progress::Progress;

/// One log.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) producer: Producer,
    pub(crate) inspector: Arc<Inspector>,
    pub(crate) progress: Progress,
    pub(crate) members: Members,
    pub(crate) closed: AtomicBool,
}

impl Shared {
    /// Talks to no broker yet.
    pub(crate) fn new(options: &Options, catalog: Arc<Catalog>) -> KafkaResult<Self> {
        Ok(Self {
            producer: Producer::new(options, Arc::clone(&catalog))?,
            inspector: Arc::new(Inspector::new(options, Arc::clone(&catalog))),
            options: options.clone(),
            catalog,
            progress: Progress::new(),
            members: Members::default(),
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The members in this process, to be closed with the log.
#[derive(Default)]
pub(crate) struct Members(Mutex<Vec<Weak<Member>>>);

impl Members {
    pub(crate) fn add(&self, member: &Arc<Member>) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(member));
    }

    /// The groups that have a member here.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let members = members.iter().filter_map(Weak::upgrade);
        let groups: BTreeSet<Group> = members.map(|member| member.group()).collect();
        groups.into_iter().collect()
    }

    /// Closes all of them, and returns those that are still leaving their groups.
    pub(crate) fn close(&self) -> Vec<Arc<Member>> {
        let members = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let members: Vec<_> = members.iter().filter_map(Weak::upgrade).collect();
        for member in &members {
            member.close();
        }
        members
    }
}
