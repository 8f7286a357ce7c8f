-- add_to_counter: totals, once per name and transaction
INSERT INTO counter (channel, destination, name, value) VALUES (?, ?, ?, ?)
  ON CONFLICT (channel, destination, name) DO UPDATE SET value = value + excluded.value;

-- add_kind: which channels and types a stretch of messages has
INSERT OR IGNORE INTO message_kind (channel, type, stretch) VALUES (?, ?, ?);

-- add_outcome: which states and destinations a stretch of messages has
INSERT OR IGNORE INTO message_outcome (state, name, stretch) VALUES (?, ?, ?);

-- add_event: append-only log of the exceptional
INSERT INTO event (at, message_id, destination, kind, actor, detail) VALUES (?, ?, ?, ?, ?, ?);

-- same_control_id: earlier messages of this sender with this control id, newest first (C1)
SELECT id, digest, flags, state FROM message
  WHERE control_id = ? AND control_id <> '' AND channel = ? AND sender = ?
    AND received_at >= ? AND parent_id IS NULL
  ORDER BY id DESC LIMIT 50;

-- insert_message: C1
INSERT INTO message (channel, state, received_at, routed_at, control_id, type, sender, peer, digest, size,
    ordering_key, also_keys, mrn, visit, parent_id, flags, error_code, error_text, error_place, ack,
    config_version)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- route_message: C2, only once
UPDATE message SET state = ?, routed_at = ?, reason = ?, error_code = ?, error_text = ?, error_place = ?,
    ack = coalesce(?, ack), config_version = ?
  WHERE id = ? AND state = 'RECEIVED' RETURNING channel;

-- transform_messages: C2 of a group that went through, only once
UPDATE message SET state = 'TRANSFORMED', routed_at = ?, config_version = ?
  WHERE id IN (SELECT value FROM json_each(?)) AND state = 'RECEIVED' RETURNING id, channel;

-- insert_deliveries: C2 of a group
INSERT INTO delivery (message_id, destination, channel, slot, state, next_at)
  SELECT value, ?, ?, ?, 'QUEUED', 0 FROM json_each(?);

-- insert_delivery: C2
INSERT INTO delivery (message_id, destination, channel, slot, state, next_at) VALUES (?, ?, ?, ?, ?, ?);

-- unrouted: what C2 has not seen yet, in order of receipt
SELECT m.id, m.received_at, m.control_id, m.type, m.sender, m.peer, m.ordering_key, m.also_keys, m.attempts,
    b.data
  FROM message AS m LEFT JOIN body AS b ON b.id = m.id * 4096
  WHERE m.channel = ? AND m.state = 'RECEIVED' AND m.id > ? ORDER BY m.id LIMIT ?;

-- mark_attempt: the engine found this message unrouted at its start
UPDATE message SET attempts = ? WHERE id = ? AND state = 'RECEIVED';

-- finish_delivery: C3, only while it is still open
UPDATE delivery SET state = ?, attempts = ?, next_at = ?, error_code = ?, error_text = ?, error_place = ?,
    record = ?, note = ?, finished_at = ?
  WHERE message_id = ? AND destination = ? AND state IN ('QUEUED', 'PENDING') RETURNING slot, channel;

-- finish_deliveries: C3 of a group without errors: [[message id, attempts, record], ...], only while they are open
UPDATE delivery SET state = ?, attempts = done.value ->> 1, next_at = 0, error_code = NULL,
    error_text = NULL, error_place = NULL, record = done.value ->> 2, note = NULL, finished_at = ?
  FROM json_each(?) AS done
  WHERE message_id = done.value ->> 0 AND destination = ? AND state IN ('QUEUED', 'PENDING')
  RETURNING message_id, slot, channel;

-- open_deliveries: what is to be sent, in order of receipt
SELECT d.message_id, d.slot, d.attempts, d.next_at, m.ordering_key, m.also_keys, b.data
  FROM delivery AS d JOIN message AS m ON m.id = d.message_id
    JOIN body AS b ON b.id = d.message_id * 4096 + d.slot * 16 + 2
  WHERE d.channel = ? AND d.destination = ? AND d.state IN ('QUEUED', 'PENDING') AND d.message_id > ?
  ORDER BY d.message_id LIMIT ?;

-- pending_deliveries: those of [[message id, destination], ...] that wait for their response steps
SELECT d.message_id, d.destination FROM json_each(?) AS asked JOIN delivery AS d
  ON d.message_id = asked.value ->> 0 AND d.destination = asked.value ->> 1
  WHERE d.state = 'PENDING';

-- slot_of: where the bodies of a delivery are
SELECT slot FROM delivery WHERE message_id = ? AND destination = ?;

-- standing_open: open deliveries of a destination without their payloads, to fill the lanes from
SELECT d.message_id, d.state, d.attempts, d.next_at, m.ordering_key, m.also_keys
  FROM delivery AS d JOIN message AS m ON m.id = d.message_id
  WHERE d.channel = ? AND d.destination = ? AND d.state IN ('QUEUED', 'PENDING') AND d.message_id >= ?
  ORDER BY d.message_id LIMIT ?;

-- standing_errors: deliveries given up, which others may have to wait for
SELECT d.message_id, d.state, d.attempts, d.next_at, m.ordering_key, m.also_keys
  FROM delivery AS d JOIN message AS m ON m.id = d.message_id
  WHERE d.channel = ? AND d.destination = ? AND d.state = 'ERROR' AND d.message_id >= ?
  ORDER BY d.message_id LIMIT ?;

-- open_messages: those that wait for their steps, or have a delivery that is open or in ERROR
SELECT id FROM message WHERE channel = ?1 AND state = 'RECEIVED'
UNION SELECT message_id FROM delivery WHERE channel = ?1 AND state IN ('QUEUED', 'PENDING')
UNION SELECT message_id FROM delivery WHERE channel = ?1 AND state = 'ERROR'
ORDER BY 1;

-- unfinished: messages of a channel that are not routed or not delivered yet
SELECT (SELECT count(*) FROM message WHERE channel = ?1 AND state = 'RECEIVED')
  + (SELECT count(*) FROM delivery WHERE channel = ?1 AND state IN ('QUEUED', 'PENDING'));

-- count_unrouted: messages of a channel that are not routed yet
SELECT count(*) FROM message WHERE channel = ? AND state = 'RECEIVED';

-- count_open: deliveries of a channel to a destination that are not done yet
SELECT count(*) FROM delivery WHERE channel = ? AND destination = ? AND state IN ('QUEUED', 'PENDING');

-- unrouted_of: RECEIVED messages by id, with their bytes
SELECT m.id, m.received_at, m.control_id, m.type, m.sender, m.peer, m.ordering_key, m.also_keys, m.attempts,
    b.data, m.channel
  FROM message AS m LEFT JOIN body AS b ON b.id = m.id * 4096
  WHERE m.id IN (SELECT value FROM json_each(?)) AND m.state = 'RECEIVED' ORDER BY m.id;

-- keys_of: channel and ordering keys of messages
SELECT id, channel, ordering_key, also_keys FROM message WHERE id IN (SELECT value FROM json_each(?));

-- is_finished: nothing is to be done for this message, and nothing failed
SELECT 1 FROM message WHERE id = ?1 AND state IN ('FILTERED', 'TRANSFORMED') AND NOT EXISTS (
    SELECT 1 FROM delivery WHERE message_id = ?1 AND state IN ('QUEUED', 'PENDING', 'ERROR'));

-- last_before: about where the messages that were received before a time end
SELECT id FROM message WHERE received_at < ? ORDER BY received_at DESC LIMIT 1;

-- due: finished messages of a channel between two ids (flag 4: an error that was dealt with): all, or with content
SELECT m.id FROM message AS m
  WHERE m.id > ?1 AND m.id <= ?2 AND m.channel = ?3 AND m.received_at < ?4
    AND (m.state IN ('FILTERED', 'TRANSFORMED')
      OR m.state = 'ERROR' AND (m.flags & 4 OR m.received_at < ?5))
    AND NOT EXISTS (SELECT 1 FROM delivery AS d
      WHERE d.message_id = m.id AND d.state IN ('QUEUED', 'PENDING', 'ERROR'))
    AND (?6 OR EXISTS (SELECT 1 FROM body AS b
      WHERE b.id BETWEEN m.id * 4096 AND m.id * 4096 + 4095 AND b.id & 15 <> 1))
  ORDER BY m.id;

-- still_due: the same of one message, within the transaction that prunes it
SELECT received_at FROM message
  WHERE id = ?1 AND (state IN ('FILTERED', 'TRANSFORMED')
      OR state = 'ERROR' AND (flags & 4 OR received_at < ?2))
    AND NOT EXISTS (SELECT 1 FROM delivery
      WHERE message_id = ?1 AND state IN ('QUEUED', 'PENDING', 'ERROR'));

-- old_errors: deliveries that were given up long ago
SELECT message_id, destination FROM delivery
  WHERE channel = ? AND state = 'ERROR' AND finished_at < ? ORDER BY message_id LIMIT ?;

-- prune_events: of a message
DELETE FROM event WHERE id IN (SELECT id FROM event WHERE message_id = ? LIMIT ?);

-- prune_bodies: of a message
DELETE FROM body WHERE id IN (SELECT id FROM body WHERE id BETWEEN ?1 * 4096 AND ?1 * 4096 + 4095 LIMIT ?2);

-- prune_deliveries: of a message
DELETE FROM delivery WHERE message_id = ?1 AND destination IN (
    SELECT destination FROM delivery WHERE message_id = ?1 LIMIT ?2);

-- prune_kinds: of stretches that are gone
DELETE FROM message_kind WHERE stretch < coalesce((SELECT min(id) >> 11 FROM message), 0);

-- prune_outcomes: of stretches that are gone
DELETE FROM message_outcome WHERE stretch < coalesce((SELECT min(id) >> 11 FROM message), 0);

-- prune_columns: of a message
DELETE FROM message_column WHERE message_id = ?1 AND name IN (
    SELECT name FROM message_column WHERE message_id = ?1 LIMIT ?2);

-- prune_message: the row itself
DELETE FROM message WHERE id = ?;

-- size_of_window: bytes of the bodies of a channel between two message ids
SELECT coalesce(sum(length(b.data)), 0) FROM message AS m
  JOIN body AS b ON b.id BETWEEN m.id * 4096 AND m.id * 4096 + 4095
  WHERE m.channel = ? AND m.id >= ? AND m.id < ?;

-- sizes_in_window: the same for each message, newest first
SELECT m.id, sum(length(b.data)) FROM message AS m
  JOIN body AS b ON b.id BETWEEN m.id * 4096 AND m.id * 4096 + 4095
  WHERE m.channel = ? AND m.id >= ? AND m.id < ? GROUP BY m.id ORDER BY m.id DESC;

-- any_control_id: whether any of these control ids was seen (C1 of a group)
SELECT 1 FROM message WHERE control_id IN (SELECT value FROM json_each(?)) AND control_id <> ''
    AND received_at >= ? AND parent_id IS NULL LIMIT 1;

-- insert_new: new, readable messages (C1 of a group)
INSERT INTO message (channel, state, received_at, routed_at, control_id, type, sender, peer, digest, size,
    ordering_key, also_keys, mrn, visit, parent_id, ack, config_version)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- insert_body: new bodies (C1 of a group)
INSERT INTO body (id, data) VALUES (?, ?);

-- put_body: a body, in the place of an earlier one of its kind
INSERT OR REPLACE INTO body (id, data) VALUES (?, ?);
