-- The whole schema of a new database. An existing one gets here through migrations/, and a test compares both.
-- Times are microseconds since 1970-01-01 UTC. Rows hold no patient data: identifiers are keyed hashes
-- (blind index), everything that was sent or received is an encrypted body.

-- One row a message, in the order of receipt. RECEIVED -> FILTERED | TRANSFORMED | ERROR
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, not even after pruning
  channel TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('RECEIVED', 'FILTERED', 'TRANSFORMED', 'ERROR')),
  received_at INTEGER NOT NULL,
  routed_at INTEGER,
  control_id TEXT NOT NULL,
  type TEXT NOT NULL,
  sender TEXT NOT NULL,
  peer TEXT NOT NULL,
  digest BLOB NOT NULL,                  -- keyed, 16 bytes
  size INTEGER NOT NULL,                 -- of the raw bytes
  ordering_key INTEGER NOT NULL,         -- blind index
  also_keys BLOB,                        -- further ordering keys of a merge, 8 bytes each, little-endian
  mrn INTEGER,                           -- blind index
  visit INTEGER,                         -- blind index
  parent_id INTEGER,                     -- replay of that message
  flags INTEGER NOT NULL DEFAULT 0,      -- 1: control id was used before with other bytes; 8: part of `parent_id`
  attempts INTEGER NOT NULL DEFAULT 0,   -- starts of the engine that found it unrouted
  reason TEXT,                           -- why a filter stopped it
  error_code TEXT,
  error_text TEXT,
  error_place TEXT,
  ack TEXT,                              -- MSA-1 of the answer: AA, AE, AR, CA, CE, CR
  config_version TEXT
);
CREATE INDEX message_control_id ON message (control_id) WHERE control_id <> '';
CREATE INDEX message_received_at ON message (received_at);
CREATE INDEX message_unrouted ON message (channel, id) WHERE state = 'RECEIVED';
CREATE INDEX message_error ON message (channel, error_code, error_place) WHERE state = 'ERROR';
-- Blind indexes are random numbers: in one tree every message would touch pages of its own, and its commit would
-- write them. By stretches of 2048 messages the same few pages take them; a search looks into every stretch.
CREATE INDEX message_mrn ON message (id >> 11, mrn) WHERE mrn IS NOT NULL;
CREATE INDEX message_visit ON message (id >> 11, visit) WHERE visit IS NOT NULL;
CREATE INDEX message_filtered ON message (id) WHERE state = 'FILTERED';
CREATE INDEX message_parent ON message (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX message_merge ON message (id) WHERE also_keys IS NOT NULL;

-- One message on its way to one destination. QUEUED -> SENT | ERROR | DISCARDED, QUEUED -> QUEUED on retry
CREATE TABLE delivery (
  message_id INTEGER NOT NULL,
  destination TEXT NOT NULL,
  channel TEXT NOT NULL,
  slot INTEGER NOT NULL,                 -- 1.. within the message: part of the ids of its bodies
  state TEXT NOT NULL CHECK (state IN ('QUEUED', 'SENT', 'PENDING', 'ERROR', 'DISCARDED')),
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER NOT NULL DEFAULT 0,
  error_code TEXT,
  error_text TEXT,
  error_place TEXT,
  record TEXT,                           -- res.partner,12
  note TEXT,
  finished_at INTEGER,
  PRIMARY KEY (message_id, destination)
) WITHOUT ROWID;
CREATE INDEX delivery_open ON delivery (channel, destination, message_id)
  WHERE state IN ('QUEUED', 'PENDING');
CREATE INDEX delivery_error ON delivery (channel, destination, error_code, error_place)
  WHERE state = 'ERROR';
CREATE INDEX delivery_discarded ON delivery (message_id) WHERE state = 'DISCARDED';
-- SENT although something is told of it: hardly ever, if at all.
CREATE INDEX delivery_sent_error ON delivery (error_code, error_place)
  WHERE state = 'SENT' AND (error_code IS NOT NULL OR error_place IS NOT NULL);

-- Which channels and types there are in each stretch of 2048 messages: a search for a rare one looks there alone.
CREATE TABLE message_kind (
  channel TEXT NOT NULL,
  type TEXT NOT NULL,
  stretch INTEGER NOT NULL,
  PRIMARY KEY (channel, type, stretch)
) WITHOUT ROWID;

-- Which stretches have messages that went through, and deliveries, by destination: as message_kind.
CREATE TABLE message_outcome (
  state TEXT NOT NULL,                   -- TRANSFORMED; of deliveries QUEUED (there is one) and SENT
  name TEXT NOT NULL,                    -- channel; of deliveries the destination
  stretch INTEGER NOT NULL,
  PRIMARY KEY (state, name, stretch)
) WITHOUT ROWID;

-- Values of searchable columns: text where the channel says `plain`, else a blind index.
-- By stretches, as message_mrn.
CREATE TABLE message_column (
  message_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  value NOT NULL,
  PRIMARY KEY (message_id, name)
) WITHOUT ROWID;
CREATE INDEX message_column_value ON message_column (message_id >> 11, name, value);

-- What was received and sent, compressed and encrypted. id = message id * 4096 + slot * 16 + kind
CREATE TABLE body (
  id INTEGER PRIMARY KEY,
  data BLOB NOT NULL
);

-- What `duplicate` filters let pass: keyed digests, and the message that passed last.
CREATE TABLE seen (
  digest BLOB PRIMARY KEY,
  message_id INTEGER NOT NULL,
  at INTEGER NOT NULL,                   -- when that message was received
  until INTEGER NOT NULL                 -- needed no more after this
) WITHOUT ROWID;
CREATE INDEX seen_until ON seen (until);

-- Compression dictionaries, encrypted as they are made of message content.
CREATE TABLE dictionary (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  channel TEXT NOT NULL,
  kind INTEGER NOT NULL,
  made_at INTEGER NOT NULL,
  data BLOB NOT NULL,
  bodies INTEGER NOT NULL DEFAULT 0      -- how many there had been to learn from
);

-- Everything exceptional, append-only: errors, retries, replays, and what operators did.
CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  message_id INTEGER,
  destination TEXT,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  detail TEXT
);
CREATE INDEX event_message ON event (message_id) WHERE message_id IS NOT NULL;

-- Totals since the database was made, changed in the transaction that they count.
CREATE TABLE counter (
  channel TEXT NOT NULL,
  destination TEXT NOT NULL,
  name TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (channel, destination, name)
) WITHOUT ROWID;

-- What console and CLI ask of the engine. new -> taken -> done | failed
CREATE TABLE command (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  verb TEXT NOT NULL,
  args TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'taken', 'done', 'failed')),
  node INTEGER,
  finished_at INTEGER,
  result TEXT
);
CREATE INDEX command_open ON command (id) WHERE state IN ('new', 'taken');

-- Acts on many messages, done in batches: filling -> running -> done | cancelled, running <-> paused
CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  verb TEXT NOT NULL CHECK (verb IN ('replay', 'resend', 'discard')),
  args TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'filling'
    CHECK (state IN ('filling', 'running', 'paused', 'done', 'cancelled')),
  total INTEGER NOT NULL DEFAULT 0,
  done INTEGER NOT NULL DEFAULT 0,
  changed INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  finished_at INTEGER
);
CREATE INDEX job_open ON job (id) WHERE state IN ('filling', 'running', 'paused');

-- The messages of a job that are still to be acted on; a step deletes them in the transaction that acts.
CREATE TABLE job_item (
  job_id INTEGER NOT NULL,
  message_id INTEGER NOT NULL,
  PRIMARY KEY (job_id, message_id)
) WITHOUT ROWID;

-- Every start of an engine. The highest epoch owns the database; older ones must not write any more.
CREATE TABLE node (
  epoch INTEGER PRIMARY KEY AUTOINCREMENT,
  pid INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  status TEXT
);

-- Small values of the store itself: key fingerprints, what the console wants to keep.
CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- The configurations that ran: one row each time one was taken up.
CREATE TABLE config (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  version TEXT NOT NULL,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  note TEXT NOT NULL DEFAULT '',
  changes TEXT NOT NULL DEFAULT '[]',    -- [[channel, [what of it changed]]]
  files BLOB                             -- name -> content, encrypted; with the first row of a version
);
CREATE INDEX config_version ON config (version);

-- Written and emptied again to find out whether a full or broken disk has recovered.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  data BLOB NOT NULL
);

-- Who may use the console and the API.
CREATE TABLE user (
  name TEXT PRIMARY KEY,
  password TEXT,                         -- argon2id; NULL: signs in elsewhere (OIDC)
  totp BLOB,                             -- encrypted secret of the second factor
  grants TEXT NOT NULL,                  -- [{"role": "operator", "channels": ["adt"]}]; no channels: all
  reveal INTEGER NOT NULL DEFAULT 0,     -- may see patient data
  disabled INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,   -- wrong passwords since the last right one
  locked_until INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) WITHOUT ROWID;

-- A signed-in browser. The cookie is not kept, only its hash.
CREATE TABLE session (
  id BLOB PRIMARY KEY,                   -- keyed hash of the cookie
  user TEXT NOT NULL,
  csrf TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  address TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_user ON session (user);

-- API tokens: only their hash is kept.
CREATE TABLE token (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  user TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE,
  grants TEXT NOT NULL,                  -- what of the user's grants the token may use
  reveal INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  revoked_at INTEGER
);
CREATE INDEX token_user ON token (user);

-- Every act and every view of patient data, each row chained to the one before by a keyed hash.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  address TEXT NOT NULL,                 -- where from
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  outcome TEXT NOT NULL,                 -- ok | refused | failed
  detail TEXT NOT NULL,                  -- no patient data
  hash BLOB NOT NULL
);

-- Searches that a user keeps by a name.
CREATE TABLE saved_search (
  user TEXT NOT NULL,
  name TEXT NOT NULL,
  query TEXT NOT NULL,
  PRIMARY KEY (user, name)
) WITHOUT ROWID;

-- Answers of the API to requests that carry an Idempotency-Key.
CREATE TABLE answered (
  digest BLOB PRIMARY KEY,               -- keyed: who asked, and their key
  request BLOB NOT NULL,                 -- keyed digest of method, address and body
  at INTEGER NOT NULL,
  answer BLOB                            -- encrypted; NULL while it is worked on
) WITHOUT ROWID;
CREATE INDEX answered_at ON answered (at);

-- The last state of each resource that FHIR servers told of, so that the next one is a change of it.
CREATE TABLE snapshot (
  digest BLOB PRIMARY KEY,               -- keyed: channel and Type/id
  channel TEXT NOT NULL,
  message_id INTEGER NOT NULL,           -- the message that told it; below 1: none, another resource referred to it
  version TEXT NOT NULL,                 -- meta.versionId; '' when the server says none
  updated_at INTEGER NOT NULL,           -- meta.lastUpdated, by the server's clock; 0 when it says none
  deleted INTEGER NOT NULL,
  data BLOB                              -- encrypted; NULL: deleted, or the channel keeps no content
) WITHOUT ROWID;
CREATE INDEX snapshot_channel ON snapshot (channel);
CREATE INDEX snapshot_met ON snapshot (channel) WHERE message_id < 0;
