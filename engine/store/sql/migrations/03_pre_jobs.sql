-- Acts on many messages, done in batches; merges by id.
CREATE INDEX message_merge ON message (id) WHERE also_keys IS NOT NULL;

-- filling -> running -> done | cancelled, running <-> paused
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
