//! The registry on the in-memory store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postrider_access::{Denied, Scope, Token};
use postrider_model::{
    AppId, Channel, Clock, Disabled, Endpoint, EndpointId, EndpointPolicy, EventType, SystemClock,
    Timestamp, TokenId,
};
use postrider_store::testing::MemoryStore;
use postrider_store::{
    Application, ApplicationRef, Applications, Changes, ConfigFeed, Endpoints, StoreError,
    TokenRecord, TokenScope, Tokens,
};

use crate::{AuthError, Found, Registry, RegistryMetrics};

async fn registry(store: &MemoryStore) -> Arc<Registry> {
    let metrics = RegistryMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    Registry::load(Arc::new(store.clone()), metrics)
        .await
        .unwrap()
}

async fn application(store: &MemoryStore, uid: Option<&str>) -> Application {
    let now = SystemClock.now();
    let application = Application {
        id: AppId::new(),
        uid: uid.map(|uid| uid.parse().unwrap()),
        name: "shop".to_owned(),
        metadata: Default::default(),
        rate_limit: None,
        version: 0,
        created_at: now,
        updated_at: now,
    };
    store.insert_application(&application).await.unwrap()
}

fn endpoint(app_id: AppId, types: Option<&[&str]>, channels: Option<&[&str]>) -> Endpoint {
    let now = SystemClock.now();
    Endpoint {
        id: EndpointId::new(),
        app_id,
        uid: None,
        url: "https://example.com/".parse().unwrap(),
        description: String::new(),
        metadata: Default::default(),
        event_types: types.map(|types| types.iter().map(|name| name.parse().unwrap()).collect()),
        channels: channels.map(|names| names.iter().map(|name| name.parse().unwrap()).collect()),
        disabled: None,
        policy: EndpointPolicy::default().shared(),
        secrets: vec![],
        version: 0,
        created_at: now,
        updated_at: now,
    }
}

fn wanting(
    registry: &Registry,
    app_id: AppId,
    event_type: &str,
    channels: &[&str],
) -> Vec<EndpointId> {
    let event_type: EventType = event_type.parse().unwrap();
    let channels: Vec<Channel> = channels.iter().map(|name| name.parse().unwrap()).collect();
    registry
        .snapshot()
        .matching(app_id, &event_type, &channels, None)
        .map(|endpoint| endpoint.id)
        .collect()
}

#[tokio::test]
async fn an_endpoint_that_sets_no_limit_has_its_applications() {
    let store = MemoryStore::new();
    let app = Application {
        id: AppId::new(),
        rate_limit: Some(7),
        ..application(&store, None).await
    };
    let app = store.insert_application(&app).await.unwrap();
    let registry = registry(&store).await;
    let (snapshot, mut endpoint) = (registry.snapshot(), endpoint(app.id, None, None));
    assert_eq!(snapshot.rate_limit(&endpoint), Some(7));
    Arc::make_mut(&mut endpoint.policy).rate_limit = Some(3);
    assert_eq!(snapshot.rate_limit(&endpoint), Some(3));
    Arc::make_mut(&mut endpoint.policy).rate_limit = None;
    endpoint.app_id = AppId::new();
    assert_eq!(snapshot.rate_limit(&endpoint), None);
}

#[tokio::test]
async fn matching_is_by_type_then_channel_in_the_order_of_ids_and_never_shows_a_disabled_endpoint()
{
    let store = MemoryStore::new();
    let app = application(&store, None).await;
    let mut ids = Vec::new();
    for (types, channels) in [
        (None, None),
        (Some(&["a"][..]), None),
        (Some(&["b"][..]), None),
        (None, Some(&["eu"][..])),
        (Some(&["a", "b"][..]), Some(&["eu", "us"][..])),
    ] {
        ids.push(
            store
                .insert_endpoint(&endpoint(app.id, types, channels))
                .await
                .unwrap()
                .id,
        );
    }
    let off = Endpoint {
        disabled: Some(Disabled::ByOwner),
        ..endpoint(app.id, None, None)
    };
    store.insert_endpoint(&off).await.unwrap();
    let registry = registry(&store).await;
    assert_eq!(wanting(&registry, app.id, "a", &[]), [ids[0], ids[1]]);
    assert_eq!(
        wanting(&registry, app.id, "b", &["us"]),
        [ids[0], ids[2], ids[4]]
    );
    assert_eq!(wanting(&registry, app.id, "c", &["eu"]), [ids[0], ids[3]]);
    assert!(wanting(&registry, AppId::new(), "a", &[]).is_empty());
    let (a, snapshot) = ("a".parse().unwrap(), registry.snapshot());
    let behind: Vec<_> = snapshot
        .matching(app.id, &a, &[], Some(ids[0]))
        .map(|endpoint| endpoint.id)
        .collect();
    assert_eq!(behind, [ids[1]]);
}

#[tokio::test]
async fn a_refresh_shows_what_was_made_changed_and_removed_before_it_began() {
    let store = MemoryStore::new();
    let app = application(&store, Some("shop")).await;
    let registry = registry(&store).await;
    let before = registry.snapshot();
    let made = store
        .insert_endpoint(&endpoint(app.id, Some(&["a"]), None))
        .await
        .unwrap();
    registry.refresh().await.unwrap();
    assert_eq!(wanting(&registry, app.id, "a", &[]), [made.id]);
    assert!(
        before.endpoint(made.id).is_none(),
        "a snapshot never changes"
    );

    let changed = Endpoint {
        event_types: Some(vec!["b".parse().unwrap()]),
        ..made
    };
    let changed = store.replace_endpoint(&changed).await.unwrap();
    registry.refresh().await.unwrap();
    assert!(wanting(&registry, app.id, "a", &[]).is_empty());
    assert_eq!(wanting(&registry, app.id, "b", &[]), [changed.id]);
    assert_eq!(registry.snapshot().version(), changed.version);

    store.delete_endpoint(app.id, changed.id).await.unwrap();
    store.delete_application(app.id).await.unwrap();
    registry.refresh().await.unwrap();
    assert!(wanting(&registry, app.id, "b", &[]).is_empty());
    assert!(registry.snapshot().endpoint(changed.id).is_none());
    assert_eq!(
        registry
            .find_application(&ApplicationRef::Uid("shop".parse().unwrap()))
            .await,
        Found::Missing
    );
}

#[tokio::test]
async fn a_uid_that_moved_to_another_application_finds_the_other() {
    let store = MemoryStore::new();
    let old = application(&store, Some("shop")).await;
    let registry = registry(&store).await;
    store
        .replace_application(&Application { uid: None, ..old })
        .await
        .unwrap();
    let new = application(&store, Some("shop")).await;
    let by = ApplicationRef::Uid("shop".parse().unwrap());
    registry.refresh().await.unwrap();
    assert!(
        matches!(registry.find_application(&by).await, Found::Here(found) if found.id == new.id)
    );
}

#[tokio::test]
async fn a_miss_asks_the_store_once_and_without_the_store_there_is_no_verdict() {
    let store = MemoryStore::new();
    let registry = registry(&store).await;
    let app = application(&store, None).await;
    let by = ApplicationRef::Id(app.id);
    assert!(matches!(
        registry.find_application(&by).await,
        Found::Here(_)
    ));
    let missing = ApplicationRef::Id(AppId::new());
    assert_eq!(registry.find_application(&missing).await, Found::Missing);
    store.set_available(false);
    assert_eq!(registry.find_application(&missing).await, Found::Unknown);
    assert!(matches!(
        registry.find_application(&by).await,
        Found::Here(_)
    ));
}

#[tokio::test]
async fn a_token_is_known_by_its_hash_and_a_foreign_one_is_refused() {
    let store = MemoryStore::new();
    let registry = registry(&store).await;
    let token = Token::generate();
    let record = TokenRecord {
        id: TokenId::new(),
        hash: *token.hash().as_bytes(),
        scope: TokenScope::Operator,
        name: "first".to_owned(),
        expires_at: None,
        revoked_at: None,
        version: 0,
        created_at: SystemClock.now(),
    };
    let record = store.insert_token(&record).await.unwrap();
    let header = format!("Bearer {}", token.expose());
    let grant = registry
        .authenticate(Some(header.as_bytes()))
        .await
        .unwrap();
    assert_eq!((grant.scope, grant.revoked), (Scope::Operator, false));

    let foreign = format!("Bearer {}", Token::generate().expose());
    let denied = registry.authenticate(Some(foreign.as_bytes())).await;
    assert_eq!(denied, Err(AuthError::Denied(Denied::Unknown)));
    store
        .replace_token(&TokenRecord {
            revoked_at: Some(SystemClock.now()),
            ..record
        })
        .await
        .unwrap();
    registry.refresh().await.unwrap();
    assert!(
        registry
            .authenticate(Some(header.as_bytes()))
            .await
            .unwrap()
            .revoked
    );
    store.set_available(false);
    assert_eq!(
        registry.authenticate(Some(foreign.as_bytes())).await,
        Err(AuthError::Unavailable)
    );
}

#[tokio::test(start_paused = true)]
async fn the_registry_refreshes_by_itself_and_says_how_old_it_is() {
    let store = MemoryStore::new();
    let app = application(&store, None).await;
    let registry = registry(&store).await;
    let running = tokio::spawn({
        let registry = Arc::clone(&registry);
        async move { registry.run(Default::default()).await }
    });
    let made = store
        .insert_endpoint(&endpoint(app.id, None, None))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(5), async {
        while registry.snapshot().endpoint(made.id).is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    store.set_available(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(registry.age() >= Duration::from_secs(59));
    assert_eq!(
        wanting(&registry, app.id, "a", &[]),
        [made.id],
        "the last snapshot goes on"
    );
    store.set_available(true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(registry.age() <= Duration::from_secs(2));
    running.abort();
}

#[tokio::test]
async fn many_that_refresh_at_once_each_see_what_was_made_before_they_asked() {
    let store = MemoryStore::new();
    let app = application(&store, None).await;
    let registry = registry(&store).await;
    let asking = (0..64).map(|_| {
        let (store, registry) = (store.clone(), Arc::clone(&registry));
        tokio::spawn(async move {
            for _ in 0..20 {
                let made = store
                    .insert_endpoint(&endpoint(app.id, None, None))
                    .await
                    .unwrap();
                registry.refresh().await.unwrap();
                assert!(registry.snapshot().endpoint(made.id).is_some());
                registry.refresh_to(made.version).await.unwrap();
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    assert_eq!(registry.snapshot().endpoint_count(), 64 * 20);
}

/// A store that answers once, and then takes half a minute to say that it cannot.
struct Hanging {
    store: MemoryStore,
    asked: AtomicU32,
}

#[async_trait]
impl ConfigFeed for Hanging {
    async fn changes(&self, since: u64) -> Result<Changes, StoreError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return self.store.changes(since).await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        Err(StoreError::Unavailable("it hangs".to_owned()))
    }

    async fn forget_removals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.store.forget_removals(before, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn many_that_ask_a_store_that_hangs_wait_for_it_twice_at_most() {
    let hanging = Arc::new(Hanging {
        store: MemoryStore::new(),
        asked: AtomicU32::new(0),
    });
    let metrics = RegistryMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let feed: Arc<dyn ConfigFeed> = Arc::<Hanging>::clone(&hanging);
    let registry = Registry::load(feed, metrics).await.unwrap();
    let asking = (0..100).map(|_| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { registry.refresh().await })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert!(matches!(
            asked.await.unwrap(),
            Err(StoreError::Unavailable(_))
        ));
    }
    assert!(hanging.asked.load(Ordering::SeqCst) <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_counts_as_away_after_a_second_until_it_answers() {
    let hanging = Arc::new(Hanging {
        store: MemoryStore::new(),
        asked: AtomicU32::new(0),
    });
    let metrics = RegistryMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let feed: Arc<dyn ConfigFeed> = Arc::<Hanging>::clone(&hanging);
    let registry = Registry::load(feed, metrics).await.unwrap();
    // Given up before it is known, and after.
    for (within, away) in [(500, false), (1_000, true)] {
        let refresh = registry.refresh();
        let given_up = tokio::time::timeout(Duration::from_millis(within), refresh);
        assert!(given_up.await.is_err());
        assert_eq!(registry.is_away(), away);
    }
    hanging.asked.store(0, Ordering::SeqCst);
    registry.refresh().await.unwrap();
    assert!(!registry.is_away());
    // While another waits for it.
    let waits = {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { registry.refresh().await })
    };
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert!(!registry.is_away());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(registry.is_away());
    waits.await.unwrap().unwrap_err();
    assert!(registry.is_away());
}

#[tokio::test]
async fn what_was_removed_and_forgotten_in_the_store_goes_here_too() {
    let store = MemoryStore::new();
    let app = application(&store, None).await;
    let made = endpoint(app.id, None, None);
    let gone = store.insert_endpoint(&made).await.unwrap();
    let registry = registry(&store).await;
    store.delete_endpoint(app.id, gone.id).await.unwrap();
    let later = SystemClock.now().plus(Duration::from_secs(60));
    assert_eq!(store.forget_removals(later, 10).await.unwrap(), 1);
    registry.refresh().await.unwrap();
    assert!(registry.snapshot().endpoint(gone.id).is_none());
    assert_eq!(registry.snapshot().endpoint_count(), 0);
}

#[tokio::test]
async fn the_endpoints_of_an_application_are_counted_whatever_becomes_of_them() {
    let store = MemoryStore::new();
    let (one, other) = (
        application(&store, None).await,
        application(&store, None).await,
    );
    let registry = registry(&store).await;
    let counted = async || {
        registry.refresh().await.unwrap();
        let snapshot = registry.snapshot();
        (
            snapshot.endpoints_of(one.id),
            snapshot.endpoints_of(other.id),
        )
    };
    assert_eq!(counted().await, (0, 0));
    let mut made = Vec::new();
    for app in [one.id, one.id, other.id] {
        let endpoint = endpoint(app, None, None);
        made.push(store.insert_endpoint(&endpoint).await.unwrap());
    }
    assert_eq!(counted().await, (2, 1));
    let disabled = Endpoint {
        disabled: Some(Disabled::ByOwner),
        ..made[0].clone()
    };
    store.replace_endpoint(&disabled).await.unwrap();
    assert_eq!(counted().await, (2, 1));
    for gone in &made[..2] {
        store.delete_endpoint(one.id, gone.id).await.unwrap();
    }
    assert_eq!(counted().await, (0, 1));
}
