-- The last state of each resource that FHIR servers told of, so that the next one is a change of it.
CREATE TABLE snapshot (
  digest BLOB PRIMARY KEY,               -- keyed: channel and Type/id
  channel TEXT NOT NULL,
  message_id INTEGER NOT NULL,           -- the message that told it
  version TEXT NOT NULL,                 -- meta.versionId; '' when the server says none
  updated_at INTEGER NOT NULL,           -- meta.lastUpdated, by the server's clock; 0 when it says none
  deleted INTEGER NOT NULL,
  data BLOB                              -- encrypted; NULL: deleted, or the channel keeps no content
) WITHOUT ROWID;
CREATE INDEX snapshot_channel ON snapshot (channel);
