//! Which endpoints of one application want an event.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use imbl::{HashMap, OrdSet};
use postrider_model::{Endpoint, EndpointId, EventType};

/// Endpoints of one application that are looked at one by one. Past it, they are found by what they want.
const FEW: usize = 32;

/// The enabled endpoints of one application. Cloning shares everything.
///
/// Almost every application has few endpoints, and there may be a million applications: a tree and an index for each
/// would cost more than the endpoints.
#[derive(Debug, Clone, Default)]
pub(crate) enum Subscriptions {
    #[default]
    None,
    One(ById),
    /// In the order of their ids.
    Few(Arc<Vec<ById>>),
    Many(Arc<Index>),
}

/// Endpoints by what they want.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    every_type: OrdSet<ById>,
    by_type: HashMap<EventType, OrdSet<ById>>,
}

/// An endpoint, ordered by its id alone.
#[derive(Debug, Clone)]
pub(crate) struct ById(Arc<Endpoint>);

impl Subscriptions {
    /// Those that may want events of `event_type`, in the order of their ids, behind `after` if it is given. All that
    /// want them are among them; which do is theirs to say.
    pub(crate) fn candidates<'a>(
        &'a self,
        event_type: &EventType,
        after: Option<EndpointId>,
    ) -> impl Iterator<Item = &'a Arc<Endpoint>> + use<'a> {
        let indexed = match self {
            Self::Many(index) => Some(index.candidates(event_type, after)),
            _ => None,
        };
        let listed = behind_in(self.listed(), after).iter();
        let listed = listed.map(|endpoint| &endpoint.0);
        listed.chain(indexed.into_iter().flatten())
    }

    /// Puts in an endpoint that is not there.
    pub(crate) fn insert(&mut self, endpoint: &Arc<Endpoint>) {
        if let Self::Many(index) = self {
            return Arc::make_mut(index).insert(endpoint);
        }
        let listed = self.listed();
        let at = listed.partition_point(|other| other.0.id < endpoint.id);
        let (before, behind) = listed.split_at(at);
        *self = Self::of([before, &[ById(Arc::clone(endpoint))], behind].concat());
    }

    pub(crate) fn remove(&mut self, endpoint: &Endpoint) {
        if let Self::Many(index) = self {
            return Arc::make_mut(index).remove(endpoint);
        }
        let listed = self.listed().iter();
        let others = listed.filter(|each| each.0.id != endpoint.id).cloned();
        *self = Self::of(others.collect());
    }

    /// These, in the order of their ids.
    fn of(mut endpoints: Vec<ById>) -> Self {
        if endpoints.len() > FEW {
            let mut index = Index::default();
            endpoints.iter().for_each(|each| index.insert(&each.0));
            return Self::Many(Arc::new(index));
        }
        if endpoints.len() > 1 {
            endpoints.shrink_to_fit();
            return Self::Few(Arc::new(endpoints));
        }
        endpoints.pop().map_or(Self::None, Self::One)
    }

    /// All, in the order of their ids, unless they are many.
    fn listed(&self) -> &[ById] {
        match self {
            Self::None | Self::Many(_) => &[],
            Self::One(endpoint) => std::slice::from_ref(endpoint),
            Self::Few(endpoints) => endpoints,
        }
    }
}

impl Index {
    fn candidates<'a>(
        &'a self,
        event_type: &EventType,
        after: Option<EndpointId>,
    ) -> impl Iterator<Item = &'a Arc<Endpoint>> + use<'a> {
        let typed = self.by_type.get(event_type);
        let typed = typed.map(|wanting| behind(wanting, after));
        merge(behind(&self.every_type, after), typed.into_iter().flatten())
    }

    fn insert(&mut self, endpoint: &Arc<Endpoint>) {
        let each = ById(Arc::clone(endpoint));
        match &endpoint.event_types {
            None => {
                self.every_type.insert(each);
            }
            Some(wanted) => {
                for event_type in wanted {
                    let wanting = self.by_type.entry(event_type.clone()).or_default();
                    wanting.insert(each.clone());
                }
            }
        }
    }

    fn remove(&mut self, endpoint: &Endpoint) {
        if endpoint.event_types.is_none() {
            self.every_type.remove(&endpoint.id);
        }
        for event_type in endpoint.event_types.iter().flatten() {
            if let Some(wanting) = self.by_type.get_mut(event_type) {
                wanting.remove(&endpoint.id);
                if wanting.is_empty() {
                    self.by_type.remove(event_type);
                }
            }
        }
    }
}

fn behind_in(endpoints: &[ById], after: Option<EndpointId>) -> &[ById] {
    let from = after.map_or(0, |after| {
        endpoints.partition_point(|endpoint| endpoint.0.id <= after)
    });
    &endpoints[from..]
}

fn behind(
    endpoints: &OrdSet<ById>,
    after: Option<EndpointId>,
) -> impl Iterator<Item = &Arc<Endpoint>> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    endpoints
        .range((from, Bound::Unbounded))
        .map(|endpoint| &endpoint.0)
}

/// Two sequences in the order of ids, as one.
fn merge<'a>(
    a: impl Iterator<Item = &'a Arc<Endpoint>>,
    b: impl Iterator<Item = &'a Arc<Endpoint>>,
) -> impl Iterator<Item = &'a Arc<Endpoint>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(x), Some(y)) if x.id <= y.id => a.next(),
        (Some(_), None) => a.next(),
        (_, Some(_)) => b.next(),
        (None, None) => None,
    })
}

impl Borrow<EndpointId> for ById {
    fn borrow(&self) -> &EndpointId {
        &self.0.id
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ById {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postrider_model::{AppId, EndpointPolicy, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn endpoint(id: u8, types: u8) -> Arc<Endpoint> {
        let wanted = (0..3u8).filter(|bit| types & (1 << bit) != 0);
        Arc::new(Endpoint {
            id: EndpointId::from_bytes([id; 16]),
            app_id: AppId::from_bytes([0; 16]),
            uid: None,
            url: "https://example.com/".parse().unwrap(),
            description: String::new(),
            metadata: BTreeMap::new(),
            event_types: (types != 0).then(|| wanted.map(event_type).collect()),
            channels: None,
            disabled: None,
            policy: EndpointPolicy::default().shared(),
            secrets: vec![],
            version: 0,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        })
    }

    fn event_type(n: u8) -> EventType {
        format!("type.{n}").parse().unwrap()
    }

    proptest! {
        #[test]
        fn few_or_many_those_that_want_a_type_are_found_in_order(
            steps in prop::collection::vec((0..60u8, 0..8u8, any::<bool>()), 0..200), after in prop::option::of(0..60u8),
        ) {
            let mut found = Subscriptions::default();
            let mut there: BTreeMap<u8, Arc<Endpoint>> = BTreeMap::new();
            for (id, types, put) in steps {
                if let Some(gone) = there.remove(&id) {
                    found.remove(&gone);
                }
                if put {
                    let made = endpoint(id, types);
                    found.insert(&made);
                    there.insert(id, made);
                }
            }
            let behind = after.map(|id| EndpointId::from_bytes([id; 16]));
            for wanted in (0..4).map(event_type) {
                let ids = |all: Vec<&Arc<Endpoint>>| {
                    let wanting = all.into_iter().filter(|each| each.wants(&wanted, &[]));
                    wanting.map(|each| each.id).collect::<Vec<_>>()
                };
                let candidates = found.candidates(&wanted, behind).collect();
                let expected = there.values().filter(|each| Some(each.id) > behind);
                prop_assert_eq!(ids(candidates), ids(expected.collect()));
            }
        }
    }
}
