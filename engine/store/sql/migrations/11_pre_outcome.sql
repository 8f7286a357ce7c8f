-- What a search for a rare destination or a rare state needs, so that it does not read every message.
CREATE TABLE message_outcome (
  state TEXT NOT NULL,                   -- TRANSFORMED; of deliveries QUEUED (there is one) and SENT
  name TEXT NOT NULL,                    -- channel; of deliveries the destination
  stretch INTEGER NOT NULL,
  PRIMARY KEY (state, name, stretch)
) WITHOUT ROWID;
INSERT INTO message_outcome (state, name, stretch)
  SELECT DISTINCT 'TRANSFORMED', channel, id >> 11 FROM message WHERE state = 'TRANSFORMED'
  UNION SELECT DISTINCT 'QUEUED', destination, message_id >> 11 FROM delivery
  UNION SELECT DISTINCT 'SENT', destination, message_id >> 11 FROM delivery WHERE state = 'SENT';
