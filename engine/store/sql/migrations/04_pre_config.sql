-- The configurations that ran: one row each time one was taken up.
CREATE TABLE config (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  version TEXT NOT NULL,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  note TEXT NOT NULL DEFAULT '',
  changes TEXT NOT NULL DEFAULT '[]',
  files BLOB
);
CREATE INDEX config_version ON config (version);
