//! Snapshots in files: what is written comes back, and what is not whole, not ours or too old does not.

use std::os::unix::fs::PermissionsExt;

use postrider_model::{
    AppId, Clock, Disabled, Endpoint, EndpointId, EndpointPolicy, EndpointSecret, SecretText,
    SystemClock, TokenId,
};
use postrider_store::{Application, Change, EventTypeInfo, TokenRecord, TokenScope};

use super::*;

fn file(folder: &tempfile::TempDir) -> SnapshotFile {
    SnapshotFile {
        path: folder.path().join("state/snapshot"),
        key: SealKey::from_bytes([1; 32]),
        place: "postgres://db:5432/postrider".to_owned(),
        max_age: Duration::from_secs(60),
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// Each kind of thing, with every field set to something else than its default.
fn things() -> Vec<Change> {
    let (app_id, at) = (AppId::new(), now());
    let text = |text: &str| text.to_owned();
    let pairs = |value: &str| [(text("key"), text(value))].into();
    let policy = EndpointPolicy {
        rate_limit: Some(7),
        max_in_flight: Some(3),
        schedule: Some("0s,5s,1500ms".parse().unwrap()),
        timeout: Some(Duration::from_millis(2_500)),
        final_statuses: vec![404, 451],
        headers: pairs("header"),
    };
    let secret = |text: &str, expires_at| EndpointSecret {
        secret: SecretText::new(text),
        expires_at,
    };
    let endpoint = Endpoint {
        id: EndpointId::new(),
        app_id,
        uid: Some("mine".parse().unwrap()),
        url: "https://example.com/hook?a=b".parse().unwrap(),
        description: text("with \"quotes\"\nand lines"),
        metadata: pairs("metadata"),
        event_types: Some(vec!["order.paid".parse().unwrap()]),
        channels: Some(vec!["eu".parse().unwrap()]),
        disabled: None,
        policy: policy.shared(),
        secrets: vec![
            secret("whsec_TOP", None),
            secret("whsec_OLD", Some(at.plus(Duration::from_secs(5)))),
        ],
        version: 3,
        created_at: at,
        updated_at: at.plus(Duration::from_millis(1)),
    };
    let off = Endpoint {
        id: EndpointId::new(),
        disabled: Some(Disabled::Gone),
        policy: EndpointPolicy::default().shared(),
        event_types: None,
        ..endpoint.clone()
    };
    let application = Application {
        id: app_id,
        uid: Some("shop".parse().unwrap()),
        name: text("Shop"),
        metadata: pairs("application"),
        rate_limit: Some(9),
        version: 2,
        created_at: at,
        updated_at: at,
    };
    let event_type = EventTypeInfo {
        name: "order.paid".parse().unwrap(),
        description: text("paid"),
        archived: true,
        deprecated: true,
        schemas: Some(text("{\"1\":{}}")),
        feature_flag: Some(text("beta")),
        version: 1,
        created_at: at,
        updated_at: at,
    };
    let token = TokenRecord {
        id: TokenId::new(),
        hash: [9; 32],
        scope: TokenScope::Application(app_id),
        name: text("portal"),
        expires_at: Some(at),
        revoked_at: Some(at),
        version: 4,
        created_at: at,
    };
    vec![
        Change::EventType(Arc::new(event_type)),
        Change::Application(Arc::new(application)),
        Change::Endpoint(Arc::new(endpoint)),
        Change::Endpoint(Arc::new(off)),
        Change::Token(Arc::new(token)),
    ]
}

fn saved() -> Saved {
    let mut snapshot = Snapshot::default();
    things().into_iter().for_each(|thing| snapshot.apply(thing));
    snapshot.set_version(4);
    Saved {
        snapshot: Arc::new(snapshot),
        store: StoreId([5; 16]),
        next: 4,
        as_of: now(),
    }
}

/// A file with one snapshot in it.
fn written() -> (tempfile::TempDir, SnapshotFile, Saved) {
    let folder = tempfile::tempdir().unwrap();
    let (file, saved) = (file(&folder), saved());
    file.write(&saved).unwrap();
    (folder, file, saved)
}

fn refused(file: &SnapshotFile) -> String {
    file.read(now()).unwrap_err().to_string()
}

#[test]
fn every_field_of_everything_comes_back() {
    let (_folder, file, saved) = written();
    let read = file.read(now()).unwrap();
    assert_eq!(
        (read.store, read.next, read.as_of),
        (saved.store, 4, saved.as_of)
    );
    assert_eq!(read.snapshot.version(), 4);
    let all = |snapshot: &Snapshot| {
        let endpoints: Vec<_> = snapshot.endpoints().cloned().collect();
        let applications: Vec<_> = snapshot.applications().cloned().collect();
        let event_types: Vec<_> = snapshot.event_types().cloned().collect();
        let tokens: Vec<_> = snapshot.tokens().cloned().collect();
        (endpoints, applications, event_types, tokens)
    };
    assert_eq!(all(&read.snapshot), all(&saved.snapshot));
    let (kind, wanted) = ("order.paid".parse().unwrap(), ["eu".parse().unwrap()]);
    let app_id = saved.snapshot.applications().next().unwrap().id;
    assert_eq!(
        read.snapshot.matching(app_id, &kind, &wanted, None).count(),
        1
    );
}

#[test]
fn the_file_is_its_owners_alone_and_shows_nothing() {
    let (folder, file, _) = written();
    let bytes = fs::read(&file.path).unwrap();
    for secret in [&b"whsec_"[..], b"example.com", b"shop"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file.path), 0o600);
    assert_eq!(mode(&folder.path().join("state")), 0o700);
    let there = fs::read_dir(folder.path().join("state")).unwrap();
    let mut there: Vec<_> = there.map(|one| one.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["snapshot", "snapshot.lock"]);
    assert_eq!(mode(&file.beside(".lock")), 0o600);
}

#[test]
fn a_file_that_is_torn_damaged_or_a_stranger_is_refused_in_words() {
    let (_folder, file, _) = written();
    let whole = fs::read(&file.path).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, HEADER + 1] {
        fs::write(&file.path, &whole[..length]).unwrap();
        assert_eq!(refused(&file), "it is damaged: it ends too early");
    }
    let mut damaged = whole.clone();
    damaged[HEADER + 40] ^= 1;
    fs::write(&file.path, damaged).unwrap();
    assert_eq!(refused(&file), "it is damaged: it is not as it was written");
    for stranger in [&b""[..], b"short", &[b'x'; 500]] {
        fs::write(&file.path, stranger).unwrap();
        assert_eq!(
            refused(&file),
            "it is no snapshot of Postrider's configuration"
        );
    }
    fs::remove_file(&file.path).unwrap();
    assert!(matches!(file.read(now()), Err(SavedError::Missing)));
}

#[test]
fn a_file_of_another_key_format_or_database_or_of_long_ago_is_refused_in_words() {
    let (_folder, file, saved) = written();
    let other = SnapshotFile {
        key: SealKey::from_bytes([2; 32]),
        ..file.clone()
    };
    assert_eq!(
        refused(&other),
        "it was sealed with another key than registry.snapshot_key"
    );
    let other = SnapshotFile {
        place: "postgres://db:5432/staging".to_owned(),
        ..file.clone()
    };
    assert_eq!(
        refused(&other),
        "it is of the database postgres://db:5432/postrider, and store.url names postgres://db:5432/staging"
    );
    let later = saved.as_of.plus(Duration::from_secs(61));
    let old = file.read(later).unwrap_err();
    assert_eq!(
        old.to_string(),
        "it is 61s old, and registry.snapshot_max_age is 60s"
    );
    let mut newer = fs::read(&file.path).unwrap();
    newer[9] += 1;
    fs::write(&file.path, newer).unwrap();
    assert_eq!(
        refused(&file),
        "its format is 2, and this program reads format 1 alone"
    );
}

#[test]
fn writing_replaces_the_whole_and_what_a_killed_process_left_beside_it() {
    let (_folder, file, first) = written();
    let second = Saved {
        next: 5,
        ..first.clone()
    };
    let beside = file.beside(".new");
    fs::write(&beside, "of a process that was killed").unwrap();
    file.write(&second).unwrap();
    assert_eq!(file.read(now()).unwrap().next, 5);
    assert!(!beside.exists());
}

#[test]
fn while_one_process_writes_another_does_not_and_says_so() {
    let (_folder, file, first) = written();
    let second = Saved {
        next: 5,
        ..first.clone()
    };
    let writing = File::open(file.beside(".lock")).unwrap();
    writing.lock().unwrap();
    assert_eq!(
        file.write(&second).unwrap_err().to_string(),
        "another process is writing it, and each is to have a file of its own"
    );
    assert_eq!(file.read(now()).unwrap().next, 4);
    drop(writing);
    file.write(&second).unwrap();
    assert_eq!(file.read(now()).unwrap().next, 5);
}

#[test]
fn a_key_is_32_bytes_in_base64_and_is_never_shown() {
    let key = SealKey::parse("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n").unwrap();
    assert_eq!(
        key,
        SealKey::from_bytes(*b"01234567890123456789012345678901")
    );
    assert_eq!(format!("{key:?}"), "[key]");
    for wrong in ["", "short", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MA=="] {
        assert!(SealKey::parse(wrong).is_none(), "{wrong}");
    }
}
