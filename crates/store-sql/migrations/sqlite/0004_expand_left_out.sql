-- Whether the log took a dead letter only without its payload: no replay by filter takes it. In letters of before it is the
-- last field of the encoding (7, a varint, true); the length keeps those with a payload from being read for it.
ALTER TABLE dead_letters ADD COLUMN payload_left_out INTEGER NOT NULL DEFAULT 0;
UPDATE dead_letters SET payload_left_out = 1
    WHERE iif(length(letter) BETWEEN 2 AND 4096, substr(letter, -2) = x'3801', 0);
