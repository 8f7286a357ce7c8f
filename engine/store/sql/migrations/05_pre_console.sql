-- Users, their sessions and tokens, and the audit log of the console.
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
