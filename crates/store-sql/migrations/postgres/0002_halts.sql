-- Why a replay is paused, if its owner paused it. A table of its own: processes of the version before ask for every column of
-- replays in statements that they have prepared, which a further column would break.
CREATE TABLE replay_halts (
    replay_id uuid PRIMARY KEY REFERENCES replays (id) ON DELETE CASCADE,
    why text NOT NULL
);
