-- Whether the log took a dead letter only without its payload: no replay by filter takes it. The rows of before are not looked
-- through, which would lock others out for as long as it takes: whoever reads knows them by their letters, as it does those
-- that an older process writes beside this step (dead_letters.rs). For the column itself the table is locked for a moment.
-- Behind a reader that does not end others wait for that lock, too: two seconds at most; then the step is tried again.
SET LOCAL lock_timeout = '2s';
ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS payload_left_out boolean NOT NULL DEFAULT false;
