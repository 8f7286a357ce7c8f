-- What `duplicate` filters let pass: keyed digests, and the message that passed last.
CREATE TABLE seen (
  digest BLOB PRIMARY KEY,
  message_id INTEGER NOT NULL,
  at INTEGER NOT NULL,                   -- when that message was received
  until INTEGER NOT NULL                 -- needed no more after this
) WITHOUT ROWID;
CREATE INDEX seen_until ON seen (until);
