-- Answers of the API to requests that carry an Idempotency-Key.
CREATE TABLE answered (
  digest BLOB PRIMARY KEY,               -- keyed: who asked, and their key
  request BLOB NOT NULL,                 -- keyed digest of method, address and body
  at INTEGER NOT NULL,
  answer BLOB                            -- encrypted; NULL while it is worked on
) WITHOUT ROWID;
CREATE INDEX answered_at ON answered (at);
