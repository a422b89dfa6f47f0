-- Times are milliseconds since 1970; what came from outside and may hold any byte is bytea. Names are compared byte by
-- byte, whatever the database's own order is.

-- Which database this is, the version of the newest change of configuration, the newest generation that was given to a
-- replay or a resend, and the version of the newest removal that is forgotten.
CREATE TABLE meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    store_id uuid NOT NULL DEFAULT gen_random_uuid(),
    version bigint NOT NULL DEFAULT 0,
    generation bigint NOT NULL DEFAULT 0,
    forgotten bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO meta DEFAULT VALUES;

CREATE TABLE applications (
    id uuid PRIMARY KEY,
    uid text COLLATE "C" UNIQUE,
    name text NOT NULL,
    metadata text NOT NULL, -- a JSON object
    rate_limit bigint,
    version bigint NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);

CREATE TABLE endpoints (
    id uuid PRIMARY KEY,
    app_id uuid NOT NULL REFERENCES applications (id),
    uid text COLLATE "C",
    url text NOT NULL,
    description text NOT NULL,
    metadata text NOT NULL, -- a JSON object
    event_types text, -- a JSON list; NULL for all
    channels text, -- a JSON list; NULL for all
    disabled text, -- why; NULL if it is not
    rate_limit bigint,
    max_in_flight bigint,
    schedule text,
    timeout_ms bigint,
    final_statuses text NOT NULL, -- a JSON list
    headers text NOT NULL, -- a JSON object
    secrets text NOT NULL, -- see secrets.rs
    version bigint NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    UNIQUE (app_id, uid)
);
CREATE INDEX endpoints_by_application ON endpoints (app_id, id);

CREATE TABLE event_types (
    name text COLLATE "C" PRIMARY KEY,
    description text NOT NULL,
    archived boolean NOT NULL,
    deprecated boolean NOT NULL,
    schemas text,
    feature_flag text,
    version bigint NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE INDEX event_types_in_use ON event_types (name) WHERE NOT archived;

CREATE TABLE tokens (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    app_id uuid, -- NULL for an operator's
    name text NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    version bigint NOT NULL UNIQUE,
    created_at bigint NOT NULL
);

-- What is gone, for readers of the feed that know it still.
CREATE TABLE removed (
    version bigint PRIMARY KEY,
    kind text NOT NULL,
    app_id uuid,
    id bytea NOT NULL, -- an event type's name in UTF-8
    removed_at bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000)::bigint
);
CREATE INDEX removed_by_time ON removed (removed_at);

-- History is partitioned by day (UTC), so that retention drops a table instead of deleting its rows; see partitions.rs.
-- What belongs to no day that has a partition, because it came late or its time is wrong, lies in the default one.
CREATE TABLE events (
    id uuid NOT NULL,
    app_id uuid NOT NULL,
    accepted_at bigint NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    channels text COLLATE "C" NOT NULL, -- ',a,b,' or ''
    uid text COLLATE "C",
    content_type bytea NOT NULL,
    traceparent bytea,
    payload bytea NOT NULL,
    PRIMARY KEY (id, accepted_at)
) PARTITION BY RANGE (accepted_at);
CREATE INDEX events_by_application ON events (app_id, accepted_at, id);
CREATE INDEX events_by_uid ON events (app_id, uid, accepted_at) WHERE uid IS NOT NULL;
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX events_default_by_time ON events_default (accepted_at);

-- Ids that derive from what the producer gave carry no time: here they have it, and here a repeat is found that was
-- accepted at another time. The other ids say by themselves in which partitions they can be.
CREATE TABLE derived_events (
    id uuid PRIMARY KEY,
    accepted_at bigint NOT NULL
);
CREATE INDEX derived_events_by_time ON derived_events (accepted_at);

-- One row a part; the key makes a part that is written twice one row.
CREATE TABLE fanouts (
    event_id uuid NOT NULL,
    accepted_at bigint NOT NULL, -- the event
    part bytea NOT NULL, -- SHA-256 of the endpoints, which are too long for a key
    app_id uuid NOT NULL,
    endpoints bytea NOT NULL, -- their ids, 16 bytes each
    registry_version bigint NOT NULL,
    stale boolean NOT NULL,
    complete boolean NOT NULL,
    PRIMARY KEY (event_id, part, accepted_at)
) PARTITION BY RANGE (accepted_at);
CREATE TABLE fanouts_default PARTITION OF fanouts DEFAULT;
CREATE INDEX fanouts_default_by_time ON fanouts_default (accepted_at);

CREATE TABLE attempts (
    event_id uuid NOT NULL,
    started_at bigint NOT NULL,
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    app_id uuid NOT NULL,
    accepted_at bigint NOT NULL, -- the event
    status smallint NOT NULL, -- 0 succeeded, 1 failed, 2 pending
    status_code integer,
    event_type text COLLATE "C" NOT NULL,
    detail bytea NOT NULL, -- all of it, in protobuf (proto/, Attempt)
    PRIMARY KEY (event_id, started_at, id)
) PARTITION BY RANGE (started_at);
CREATE INDEX attempts_by_endpoint ON attempts (endpoint_id, started_at, id);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;
CREATE INDEX attempts_default_by_time ON attempts_default (started_at);

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    died_at bigint NOT NULL,
    app_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    taken_by uuid, -- the replay that has it in hand, or had it last
    replay_id uuid, -- the replay that has published it
    replayed_at bigint,
    letter bytea NOT NULL -- all of it, in protobuf (proto/, DeadLetter)
);
CREATE INDEX dead_letters_by_time ON dead_letters (died_at, id);
CREATE INDEX dead_letters_by_application ON dead_letters (app_id, died_at, id);
CREATE INDEX dead_letters_by_endpoint ON dead_letters (endpoint_id, died_at, id);

CREATE TABLE replays (
    id uuid PRIMARY KEY,
    app_id uuid,
    ids bytea, -- of dead letters, 16 bytes each; NULL if the filter selects
    filter_app_id uuid,
    filter_endpoint_id uuid,
    filter_event_type text,
    filter_after bigint,
    filter_before bigint,
    filter_only_unreplayed boolean NOT NULL,
    rate bigint NOT NULL,
    status text NOT NULL,
    total bigint NOT NULL,
    done bigint NOT NULL,
    failed bigint NOT NULL,
    cursor_at bigint,
    cursor_id uuid,
    requested_by text NOT NULL,
    generation bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    lease_owner text,
    lease_until bigint
);
CREATE INDEX replays_by_application ON replays (app_id, id);
CREATE INDEX replays_running ON replays (id) WHERE status = 'running';
CREATE INDEX replays_ended ON replays (updated_at, id) WHERE status IN ('cancelled', 'done');

CREATE TABLE claims (
    key text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    fingerprint bytea NOT NULL,
    until bigint NOT NULL,
    made_at bigint NOT NULL,
    answer bytea
);
CREATE INDEX claims_by_time ON claims (made_at);
