-- What searches for something rare need, so that they do not read every message.
CREATE INDEX message_filtered ON message (id) WHERE state = 'FILTERED';
CREATE INDEX delivery_discarded ON delivery (message_id) WHERE state = 'DISCARDED';
CREATE TABLE message_kind (
  channel TEXT NOT NULL,
  type TEXT NOT NULL,
  stretch INTEGER NOT NULL,
  PRIMARY KEY (channel, type, stretch)
) WITHOUT ROWID;
INSERT INTO message_kind (channel, type, stretch) SELECT DISTINCT channel, type, id >> 11 FROM message;
