-- Ids are 16 bytes; times are milliseconds since 1970; what came from outside and may hold any byte is a BLOB.

-- Which database this is, and the version of the newest change of configuration.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store_id BLOB NOT NULL,
    version INTEGER NOT NULL
) STRICT;
INSERT INTO meta (one, store_id, version) VALUES (1, randomblob(16), 0);

CREATE TABLE applications (
    id BLOB NOT NULL PRIMARY KEY,
    uid TEXT UNIQUE,
    name TEXT NOT NULL,
    metadata TEXT NOT NULL, -- a JSON object
    rate_limit INTEGER,
    version INTEGER NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoints (
    id BLOB NOT NULL PRIMARY KEY,
    app_id BLOB NOT NULL REFERENCES applications (id),
    uid TEXT,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    metadata TEXT NOT NULL, -- a JSON object
    event_types TEXT, -- a JSON list; NULL for all
    channels TEXT, -- a JSON list; NULL for all
    disabled TEXT, -- why; NULL if it is not
    rate_limit INTEGER,
    max_in_flight INTEGER,
    schedule TEXT,
    timeout_ms INTEGER,
    final_statuses TEXT NOT NULL, -- a JSON list
    headers TEXT NOT NULL, -- a JSON object
    secrets TEXT NOT NULL, -- see secrets.rs
    version INTEGER NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (app_id, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoints_by_application ON endpoints (app_id, id);

CREATE TABLE event_types (
    name TEXT NOT NULL PRIMARY KEY,
    description TEXT NOT NULL,
    archived INTEGER NOT NULL,
    deprecated INTEGER NOT NULL,
    schemas TEXT,
    feature_flag TEXT,
    version INTEGER NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id BLOB NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    app_id BLOB, -- NULL for an operator's
    name TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    version INTEGER NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is gone, for readers of the feed that know it still.
CREATE TABLE removed (
    version INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    app_id BLOB,
    id BLOB NOT NULL -- an event type's name in UTF-8
) STRICT;

-- A rowid table: payloads would make the pages of any other key's tree overflow.
CREATE TABLE events (
    id BLOB NOT NULL,
    app_id BLOB NOT NULL,
    accepted_at INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    channels TEXT NOT NULL, -- ',a,b,' or ''
    uid TEXT,
    content_type TEXT NOT NULL,
    traceparent TEXT,
    payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE INDEX events_by_application ON events (app_id, accepted_at, id);
CREATE INDEX events_by_uid ON events (app_id, uid, accepted_at) WHERE uid IS NOT NULL;
CREATE INDEX events_by_time ON events (accepted_at);

-- One row a part; the key makes a part that is written twice one row.
CREATE TABLE fanouts (
    event_id BLOB NOT NULL,
    endpoints BLOB NOT NULL, -- their ids, 16 bytes each
    app_id BLOB NOT NULL,
    registry_version INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    PRIMARY KEY (event_id, endpoints)
) STRICT, WITHOUT ROWID;

-- No index on the id alone: it is derived, so each row would touch a page of its own. The event's id and the time grow.
CREATE TABLE attempts (
    event_id BLOB NOT NULL,
    started_at INTEGER NOT NULL,
    id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    app_id BLOB NOT NULL,
    status INTEGER NOT NULL, -- 0 succeeded, 1 failed, 2 pending
    status_code INTEGER,
    event_type TEXT NOT NULL,
    detail BLOB NOT NULL -- all of it, in protobuf (proto/, Attempt)
) STRICT;
CREATE UNIQUE INDEX attempts_by_event ON attempts (event_id, started_at, id);
CREATE INDEX attempts_by_endpoint ON attempts (endpoint_id, started_at, id);
CREATE INDEX attempts_by_time ON attempts (started_at);

CREATE TABLE dead_letters (
    id BLOB NOT NULL,
    died_at INTEGER NOT NULL,
    app_id BLOB NOT NULL,
    endpoint_id BLOB NOT NULL,
    event_type TEXT NOT NULL,
    replay_id BLOB,
    replayed_at INTEGER,
    letter BLOB NOT NULL -- all of it, in protobuf (proto/, DeadLetter)
) STRICT;
CREATE UNIQUE INDEX dead_letters_by_id ON dead_letters (id);
CREATE INDEX dead_letters_by_time ON dead_letters (died_at, id);
CREATE INDEX dead_letters_by_application ON dead_letters (app_id, died_at, id);
CREATE INDEX dead_letters_by_endpoint ON dead_letters (endpoint_id, died_at, id);

CREATE TABLE replays (
    id BLOB NOT NULL PRIMARY KEY,
    app_id BLOB,
    ids BLOB, -- of dead letters, 16 bytes each; NULL if the filter selects
    filter_app_id BLOB,
    filter_endpoint_id BLOB,
    filter_event_type TEXT,
    filter_after INTEGER,
    filter_before INTEGER,
    filter_only_unreplayed INTEGER NOT NULL,
    rate INTEGER NOT NULL,
    status TEXT NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cursor_at INTEGER,
    cursor_id BLOB,
    requested_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    lease_owner TEXT,
    lease_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX replays_by_application ON replays (app_id, id);
CREATE INDEX replays_running ON replays (id) WHERE status = 'running';

CREATE TABLE claims (
    key TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    until INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    answer BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_time ON claims (made_at);
