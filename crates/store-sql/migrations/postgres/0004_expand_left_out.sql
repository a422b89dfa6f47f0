-- Whether the log took a dead letter only without its payload: no replay by filter takes it. In letters of before it is the
-- last field of the encoding (7, a varint, true); the length keeps those with a payload from being read for it.
ALTER TABLE dead_letters ADD COLUMN payload_left_out boolean NOT NULL DEFAULT false;
UPDATE dead_letters SET payload_left_out = true WHERE CASE WHEN octet_length(letter) BETWEEN 2 AND 4096
    THEN substring(letter FROM octet_length(letter) - 1) = '\x3801'::bytea ELSE false END;
