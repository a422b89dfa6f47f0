//! Removes what nobody needs any more, by ranges, between commits.

use std::time::{Duration, Instant};

use postrider_log::{Keep, Position};
use postrider_model::Timestamp;

use crate::catalog::Catalog;
use crate::error::is_full;
use crate::shared::Shared;
use crate::state::State;
use crate::transaction::Tables;
use crate::writer::Broken;

/// Records removed by one commit, at most: a millisecond or so for which appends wait.
const STEP: u64 = 1024;
/// A step that is whole always removes something.
const _: () = assert!(crate::ending::REACH < STEP);
/// How long what may go stays if it is less than a step: it may be few records, but large ones.
const LINGER: Duration = Duration::from_millis(500);
/// How often topics that are kept for a time are looked at, in milliseconds.
const EXPIRY_MS: i64 = 1000;

/// Knows what may go.
pub(crate) struct Trimmer {
    /// Of each topic, the position below which every group has finished.
    floors: Vec<Position>,
    /// Topics in which a group has moved on since `floors` was computed.
    touched: Vec<bool>,
    /// Topics that are kept for a time, and that time in milliseconds.
    aging: Vec<(usize, i64)>,
    looked_at: Timestamp,
    /// When there was nothing left to remove.
    rested: Instant,
    /// The last step found the disk full: wait for something else to change first.
    blocked: bool,
}

impl Trimmer {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        let aging = catalog
            .specs()
            .iter()
            .enumerate()
            .filter_map(|(topic, spec)| match spec.keep {
                Keep::For(age) => Some((topic, i64::try_from(age.as_millis()).unwrap_or(i64::MAX))),
                Keep::UntilFinished(_) | Keep::Newest => None,
            });
        Self {
            aging: aging.collect(),
            floors: vec![0; catalog.specs().len()],
            touched: vec![true; catalog.specs().len()],
            looked_at: Timestamp::from_millis(i64::MIN),
            rested: Instant::now(),
            blocked: false,
        }
    }

    /// A group has moved on in this topic.
    pub(crate) fn touched(&mut self, topic: usize) {
        self.touched[topic] = true;
    }

    /// Computes anew what may go from the topics that were touched.
    pub(crate) fn raise(&mut self, catalog: &Catalog, state: &State) {
        for (topic, touched) in self.touched.iter_mut().enumerate() {
            if !std::mem::take(touched) {
                continue;
            }
            if let Keep::UntilFinished(groups) = catalog.specs()[topic].keep {
                self.floors[topic] = state.floor(topic, groups);
            }
        }
        self.blocked = false;
    }

    /// Removes some of what may go; how many records went. None if there was nothing worth a commit: a little is left
    /// to grow for a while, unless it is wanted `at_once`.
    pub(crate) fn step(
        &mut self,
        shared: &Shared,
        tables: &mut Tables<'_>,
        now: Timestamp,
        at_once: bool,
    ) -> Result<Option<u64>, Broken> {
        let broken = |error| Broken("trimming", error);
        self.expire(tables, now).map_err(broken)?;
        let at_once = at_once || self.rested.elapsed() >= LINGER;
        let Some((topic, below)) = self.next(tables, at_once).map_err(broken)? else {
            if at_once {
                self.rested = Instant::now();
            }
            return Ok(None);
        };
        match tables.trim(topic, shared.catalog.specs()[topic].topic.0, below) {
            Ok(removed) => {
                shared.state().topics[topic].tail.trimmed(below);
                Ok(Some(removed))
            }
            Err(error) if is_full(&error) => {
                tables.roll_back();
                self.blocked = true;
                Ok(None)
            }
            Err(error) => Err(broken(error)),
        }
    }

    /// Which topic is to be trimmed up to where, if one is worth it.
    fn next(
        &mut self,
        tables: &mut Tables<'_>,
        at_once: bool,
    ) -> rusqlite::Result<Option<(usize, Position)>> {
        let worth = if at_once { 1 } else { STEP };
        while !self.blocked {
            let waiting = |topic: usize| self.floors[topic].saturating_sub(tables.first(topic));
            let most = (0..self.floors.len()).max_by_key(|topic| waiting(*topic));
            let Some(topic) = most.filter(|topic| waiting(*topic) >= worth) else {
                break;
            };
            let first = tables.first(topic);
            let below = tables.spares(topic, self.floors[topic].min(first + STEP))?;
            if below > first {
                return Ok(Some((topic, below)));
            }
            // What stays needs all that may go: another topic, until a group moves on in this one.
            self.floors[topic] = first;
        }
        Ok(None)
    }

    fn expire(&mut self, tables: &mut Tables<'_>, now: Timestamp) -> rusqlite::Result<()> {
        if now.as_millis().saturating_sub(EXPIRY_MS) < self.looked_at.as_millis() {
            return Ok(());
        }
        self.looked_at = now;
        self.blocked = false;
        for (topic, age_ms) in &self.aging {
            let before = Timestamp::from_millis(now.as_millis().saturating_sub(*age_ms));
            if let Some(end) = tables.expired(*topic, STEP, before)? {
                self.floors[*topic] = end.min(tables.next(*topic));
                if end >= tables.first(*topic) + STEP {
                    // There may be more behind it.
                    self.looked_at = Timestamp::from_millis(i64::MIN);
                }
            }
        }
        Ok(())
    }
}
