-- When events were accepted of which it is known whom they went to, where that was not written together with the event: one
-- whose row the store refused is not in events, and what is known of it goes by age, too. No index of fanouts: each entry would repeat the endpoints, which are in its key.
CREATE TABLE fanout_times (
    accepted_at INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    PRIMARY KEY (accepted_at, event_id)
) STRICT, WITHOUT ROWID;
