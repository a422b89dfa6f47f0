-- Why a replay is paused, if its owner paused it.
CREATE TABLE replay_halts (
    replay_id BLOB NOT NULL PRIMARY KEY REFERENCES replays (id) ON DELETE CASCADE,
    why TEXT NOT NULL
) STRICT, WITHOUT ROWID;
