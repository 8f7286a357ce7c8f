-- Values of searchable columns: text where the channel says `plain`, else a blind index.
CREATE TABLE message_column (
  message_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  value NOT NULL,
  PRIMARY KEY (message_id, name)
) WITHOUT ROWID;
CREATE INDEX message_column_value ON message_column (message_id >> 11, name, value);
