//! Applications, endpoints, event types and tokens.

use std::sync::Arc;

use postrider_model::{AppId, EndpointId};

use super::Harness;
use super::samples::{all, application, at, endpoint, known_application, token};
use crate::{
    Application, ApplicationRef, EndpointRef, EventTypeInfo, Store, StoreError, TokenScope,
};

pub(super) fn event_type(name: &str) -> EventTypeInfo {
    EventTypeInfo {
        name: name.parse().unwrap(),
        description: "when it happens".into(),
        archived: false,
        deprecated: true,
        schemas: Some("{\"1\": {}}".into()),
        feature_flag: Some("beta".into()),
        version: 0,
        created_at: at(0),
        updated_at: at(1),
    }
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Conflict(_))),
        "{result:?} is no conflict"
    );
}

fn is_not_found<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::NotFound(_))),
        "{result:?} is not 'not found'"
    );
}

pub async fn what_was_written_is_read_back(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = Application {
        uid: Some("customer-1".parse().unwrap()),
        ..application("A")
    };
    let app = store.insert_application(&app).await.unwrap();
    let mut full = endpoint(app.id);
    full.uid = Some("hook-1".parse().unwrap());
    let full = store.insert_endpoint(&full).await.unwrap();
    let mut bare = endpoint(app.id);
    (bare.event_types, bare.channels, bare.disabled) = (None, None, None);
    bare.policy = Default::default();
    let bare = store.insert_endpoint(&bare).await.unwrap();
    let kind = store.insert_event_type(&event_type("order.created")).await;
    let kind = kind.unwrap();
    let ours = token(1, TokenScope::Operator);
    let ours = store.insert_token(&ours).await.unwrap();
    let theirs = token(2, TokenScope::Application(app.id));
    let theirs = store.insert_token(&theirs).await.unwrap();

    let store = harness.reopen(store).await;
    for by in [
        ApplicationRef::Id(app.id),
        ApplicationRef::Uid("customer-1".parse().unwrap()),
    ] {
        assert_eq!(store.application(&by).await.unwrap(), Some(app.clone()));
    }
    for by in [
        EndpointRef::Id(full.id),
        EndpointRef::Uid("hook-1".parse().unwrap()),
    ] {
        let found = store.endpoint(app.id, &by).await.unwrap();
        assert_eq!(found, Some(full.clone()));
    }
    assert_eq!(store.endpoints(app.id, &all()).await.unwrap(), [full, bare]);
    assert_eq!(store.event_type(&kind.name).await.unwrap(), Some(kind));
    assert_eq!(store.tokens(&all()).await.unwrap(), [ours, theirs]);
}

pub async fn what_was_written_before_the_end_is_there_at_the_next_start(
    harness: &mut impl Harness,
) {
    let store = harness.open().await;
    let app = known_application(store.as_ref()).await;
    store.close().await;
    let by = ApplicationRef::Id(app);
    let answered = store.application(&by).await;
    assert!(
        matches!(answered, Err(StoreError::Unavailable(_))),
        "{answered:?}"
    );
    let store = harness.reopen(store).await;
    assert_eq!(store.application(&by).await.unwrap().unwrap().id, app);
}

pub async fn what_changed_since_it_was_read_is_not_replaced(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = store.insert_application(&application("A")).await.unwrap();
    let changed = Application {
        name: "B".into(),
        ..app.clone()
    };
    let changed = store.replace_application(&changed).await.unwrap();
    assert!(changed.version > app.version && changed.name == "B");
    is_conflict(store.replace_application(&app).await);

    let made = store.insert_endpoint(&endpoint(app.id)).await.unwrap();
    let changed = store.replace_endpoint(&made).await.unwrap();
    assert!(changed.version > made.version);
    is_conflict(store.replace_endpoint(&made).await);

    let made = store.insert_event_type(&event_type("a")).await.unwrap();
    store.replace_event_type(&made).await.unwrap();
    is_conflict(store.replace_event_type(&made).await);

    let made = store.insert_token(&token(1, TokenScope::Operator)).await;
    let made = made.unwrap();
    store.replace_token(&made).await.unwrap();
    is_conflict(store.replace_token(&made).await);
}

pub async fn what_is_not_there_is_not_found(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let (app, name) = (AppId::new(), "nothing".parse().unwrap());
    is_not_found(store.replace_application(&application("A")).await);
    is_not_found(store.delete_application(app).await);
    is_not_found(store.insert_endpoint(&endpoint(app)).await);
    is_not_found(store.replace_endpoint(&endpoint(app)).await);
    is_not_found(store.delete_endpoint(app, EndpointId::new()).await);
    is_not_found(store.replace_event_type(&event_type("nothing")).await);
    is_not_found(store.delete_event_type(&name).await);
    is_not_found(store.replace_token(&token(1, TokenScope::Operator)).await);
    let by = ApplicationRef::Uid("nobody".parse().unwrap());
    assert_eq!(store.application(&by).await.unwrap(), None);
    assert_eq!(store.event_type(&name).await.unwrap(), None);
}

pub async fn an_uid_names_one_application(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let named = |name: &str| Application {
        uid: Some("one".parse().unwrap()),
        ..application(name)
    };
    let first = store.insert_application(&named("A")).await.unwrap();
    is_conflict(store.insert_application(&named("B")).await);
    let other = store.insert_application(&application("C")).await.unwrap();
    store.insert_application(&application("D")).await.unwrap();
    let renamed = Application {
        uid: first.uid.clone(),
        ..other
    };
    is_conflict(store.replace_application(&renamed).await);
    store.delete_application(first.id).await.unwrap();
    store.replace_application(&renamed).await.unwrap();
}

pub async fn an_uid_names_one_endpoint_of_an_application(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let other_app = known_application(&*store).await;
    let named = |app| {
        let mut named = endpoint(app);
        named.uid = Some("one".parse().unwrap());
        named
    };
    let first = store.insert_endpoint(&named(app)).await.unwrap();
    is_conflict(store.insert_endpoint(&named(app)).await);
    store.insert_endpoint(&named(other_app)).await.unwrap();
    let mut unnamed = store.insert_endpoint(&endpoint(app)).await.unwrap();
    unnamed.uid.clone_from(&first.uid);
    is_conflict(store.replace_endpoint(&unnamed).await);
    store.delete_endpoint(app, first.id).await.unwrap();
    store.replace_endpoint(&unnamed).await.unwrap();
}

pub async fn names_and_hashes_are_taken_once(harness: &mut dyn Harness) {
    let store = harness.open().await;
    store.insert_event_type(&event_type("a")).await.unwrap();
    is_conflict(store.insert_event_type(&event_type("a")).await);
    let first = token(1, TokenScope::Operator);
    store.insert_token(&first).await.unwrap();
    is_conflict(store.insert_token(&token(1, TokenScope::Operator)).await);
    let app = store.insert_application(&application("A")).await.unwrap();
    is_conflict(store.insert_application(&app).await);
    let made = store.insert_endpoint(&endpoint(app.id)).await.unwrap();
    is_conflict(store.insert_endpoint(&made).await);
}

pub async fn an_endpoint_of_another_application_is_not_found(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let other = known_application(&*store).await;
    let mut made = store.insert_endpoint(&endpoint(app)).await.unwrap();
    let by = EndpointRef::Id(made.id);
    assert_eq!(store.endpoint(other, &by).await.unwrap(), None);
    assert_eq!(store.endpoints(other, &all()).await.unwrap(), []);
    is_not_found(store.delete_endpoint(other, made.id).await);
    made.app_id = other;
    is_not_found(store.replace_endpoint(&made).await);
}

pub async fn an_application_takes_its_endpoints_with_it(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = known_application(&*store).await;
    let other = known_application(&*store).await;
    let made = store.insert_endpoint(&endpoint(app)).await.unwrap();
    let stays = store.insert_endpoint(&endpoint(other)).await.unwrap();
    store.delete_application(app).await.unwrap();
    let by = ApplicationRef::Id(app);
    assert_eq!(store.application(&by).await.unwrap(), None);
    let by = EndpointRef::Id(made.id);
    assert_eq!(store.endpoint(app, &by).await.unwrap(), None);
    assert_eq!(store.endpoints(other, &all()).await.unwrap(), [stays]);
}

pub async fn archived_event_types_are_listed_only_if_asked_for(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let mut old = event_type("old");
    old.archived = true;
    let old = store.insert_event_type(&old).await.unwrap();
    let new = store.insert_event_type(&event_type("new")).await.unwrap();
    let listed = store.event_types(false, &all()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0], new);
    let listed = store.event_types(true, &all()).await.unwrap();
    assert_eq!(listed, [new, old]);
}

pub async fn of_many_changes_at_once_to_one_thing_one_wins(harness: &mut dyn Harness) {
    let store = harness.open().await;
    let app = store.insert_application(&application("A")).await.unwrap();
    let change = |n: usize| {
        let store: Arc<dyn Store> = store.clone();
        let changed = Application {
            name: n.to_string(),
            ..app.clone()
        };
        tokio::spawn(async move { store.replace_application(&changed).await })
    };
    let mut won = Vec::new();
    for done in (0..20).map(change).collect::<Vec<_>>() {
        match done.await.unwrap() {
            Ok(stored) => won.push(stored),
            Err(error) => assert!(matches!(error, StoreError::Conflict(_)), "{error}"),
        }
    }
    assert_eq!(won.len(), 1);
    let by = ApplicationRef::Id(app.id);
    assert_eq!(store.application(&by).await.unwrap(), won.pop());
}
