-- The newest generation that was given to a replay or a resend, and the version of the newest removal that is forgotten.
ALTER TABLE meta ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;

ALTER TABLE replays ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
UPDATE replays SET generation = created_at;
UPDATE meta SET generation = coalesce((SELECT max(generation) FROM replays), 0);
CREATE INDEX replays_ended ON replays (updated_at, id) WHERE status IN ('cancelled', 'done');

-- The replay that has it in hand, or had it last; replay_id is the one that has published it.
ALTER TABLE dead_letters ADD COLUMN taken_by BLOB;

ALTER TABLE removed ADD COLUMN removed_at INTEGER NOT NULL DEFAULT 0;
UPDATE removed SET removed_at = unixepoch() * 1000;
CREATE INDEX removed_by_time ON removed (removed_at);
