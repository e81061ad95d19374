-- Portable DDL: text, integer and double precision columns, partial unique indexes, no triggers.
-- Times are seconds since 1970; ids from platforms are text; JSON is text.

CREATE TABLE inbox (
  id          INTEGER PRIMARY KEY,
  platform    TEXT NOT NULL,
  chat        TEXT NOT NULL,
  thread      TEXT NOT NULL,
  message_id  TEXT NOT NULL,
  user_hash   TEXT NOT NULL,
  kind        TEXT NOT NULL CHECK (kind IN ('message', 'command', 'press')),
  state       TEXT NOT NULL CHECK (state IN ('pending', 'handling', 'done', 'dead', 'expired')),
  attempts    INTEGER NOT NULL,
  payload     TEXT NOT NULL,
  error       TEXT,
  received_at DOUBLE PRECISION NOT NULL,
  settled_at  DOUBLE PRECISION,
  UNIQUE (platform, chat, message_id)
);
CREATE INDEX inbox_open ON inbox (platform, id) WHERE state IN ('pending', 'handling');

CREATE TABLE cursor (
  platform TEXT NOT NULL,
  name     TEXT NOT NULL,
  value    TEXT NOT NULL,
  PRIMARY KEY (platform, name)
);

CREATE TABLE conversation (
  id         TEXT PRIMARY KEY,
  platform   TEXT NOT NULL,
  chat       TEXT NOT NULL,
  thread     TEXT NOT NULL,
  persona    TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  closed_at  DOUBLE PRECISION
);
CREATE UNIQUE INDEX conversation_live ON conversation (platform, chat, thread, persona) WHERE closed_at IS NULL;

CREATE TABLE reply (
  id                TEXT PRIMARY KEY,
  inbox_id          INTEGER NOT NULL UNIQUE REFERENCES inbox (id),
  conversation_id   TEXT NOT NULL REFERENCES conversation (id),
  parent_reply_id   TEXT REFERENCES reply (id),
  persona           TEXT NOT NULL,
  platform          TEXT NOT NULL,
  chat              TEXT NOT NULL,
  state             TEXT NOT NULL CHECK (state IN ('generating', 'complete', 'failed')),
  lang              TEXT NOT NULL,
  messages          TEXT NOT NULL,
  lore              TEXT NOT NULL,
  text              TEXT,
  base              TEXT,
  base_fingerprint  TEXT,
  dtype             TEXT,
  quantize          TEXT,
  adapter           TEXT,
  adapter_digest    TEXT,
  arm               TEXT,
  sampling          TEXT NOT NULL,
  seed              INTEGER NOT NULL,
  finish_reason     TEXT,
  prompt_tokens     INTEGER,
  completion_tokens INTEGER,
  first_text_s      DOUBLE PRECISION,
  seconds           DOUBLE PRECISION,
  guard             TEXT,
  error             TEXT,
  created_at        DOUBLE PRECISION NOT NULL,
  completed_at      DOUBLE PRECISION
);
CREATE INDEX reply_conversation ON reply (conversation_id, created_at);

CREATE TABLE message (
  id              INTEGER PRIMARY KEY,
  conversation_id TEXT NOT NULL REFERENCES conversation (id),
  reply_id        TEXT NOT NULL REFERENCES reply (id),
  inbox_id        INTEGER NOT NULL REFERENCES inbox (id),
  role            TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
  author_hash     TEXT,
  author_name     TEXT,
  lang            TEXT NOT NULL,
  text            TEXT NOT NULL,
  created_at      DOUBLE PRECISION NOT NULL,
  UNIQUE (reply_id, inbox_id, role)
);
CREATE INDEX message_conversation ON message (conversation_id, id);

CREATE TABLE outbox (
  id                  INTEGER PRIMARY KEY,
  inbox_id            INTEGER NOT NULL REFERENCES inbox (id),
  slot                TEXT NOT NULL,
  part                INTEGER NOT NULL,
  reply_id            TEXT REFERENCES reply (id),
  platform            TEXT NOT NULL,
  chat                TEXT NOT NULL,
  thread              TEXT NOT NULL,
  state               TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unknown')),
  nonce               TEXT NOT NULL UNIQUE,
  platform_message_id TEXT,
  text                TEXT NOT NULL,
  created_at          DOUBLE PRECISION NOT NULL,
  updated_at          DOUBLE PRECISION NOT NULL,
  UNIQUE (inbox_id, slot, part)
);
CREATE INDEX outbox_message ON outbox (platform, chat, platform_message_id);

CREATE TABLE vote (
  id             INTEGER PRIMARY KEY,
  reply_id       TEXT NOT NULL REFERENCES reply (id),
  rater_hash     TEXT NOT NULL,
  role           TEXT NOT NULL CHECK (role IN ('user', 'trusted', 'moderator')),
  kind           TEXT NOT NULL CHECK (kind IN ('thumb', 'pair', 'rewrite', 'flag')),
  value          INTEGER NOT NULL CHECK (value IN (-1, 0, 1)),
  reason         TEXT,
  other_reply_id TEXT REFERENCES reply (id),
  text           TEXT,
  consent        TEXT NOT NULL CHECK (consent IN ('yes', 'no', 'vote', 'unasked')),
  source         TEXT NOT NULL,
  created_at     DOUBLE PRECISION NOT NULL,
  closed_at      DOUBLE PRECISION
);
CREATE UNIQUE INDEX vote_live ON vote (reply_id, rater_hash, kind) WHERE closed_at IS NULL;
CREATE INDEX vote_rater ON vote (rater_hash) WHERE closed_at IS NULL;

CREATE TABLE consent (
  id         INTEGER PRIMARY KEY,
  rater_hash TEXT NOT NULL,
  answer     TEXT NOT NULL CHECK (answer IN ('asked', 'yes', 'no', 'vote')),
  created_at DOUBLE PRECISION NOT NULL,
  closed_at  DOUBLE PRECISION
);
CREATE UNIQUE INDEX consent_live ON consent (rater_hash) WHERE closed_at IS NULL;

CREATE TABLE setting (
  scope      TEXT NOT NULL CHECK (scope IN ('thread', 'channel', 'guild', 'user')),
  scope_id   TEXT NOT NULL,
  name       TEXT NOT NULL CHECK (name IN ('persona', 'lang')),
  value      TEXT NOT NULL,
  updated_at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (scope, scope_id, name)
);

CREATE TABLE run (
  id                TEXT PRIMARY KEY,
  persona           TEXT NOT NULL,
  base_fingerprint  TEXT NOT NULL,
  kind              TEXT NOT NULL CHECK (kind IN ('corpus', 'incremental', 'rebuild')),
  state             TEXT NOT NULL CHECK (state IN (
    'claimed', 'snapshotted', 'training', 'evaluating', 'awaiting_approval', 'canary',
    'promoted', 'rejected', 'rolled_back', 'failed', 'superseded')),
  owner             TEXT,
  lease_until       DOUBLE PRECISION,
  attempt           INTEGER NOT NULL,
  config_digest     TEXT,
  reference_version TEXT,
  seed              INTEGER NOT NULL,
  snapshot_digest   TEXT,
  checkpoint        TEXT,
  report            TEXT,
  error             TEXT,
  created_at        DOUBLE PRECISION NOT NULL,
  updated_at        DOUBLE PRECISION NOT NULL
);
CREATE UNIQUE INDEX run_live ON run (persona, base_fingerprint)
  WHERE state IN ('claimed', 'snapshotted', 'training', 'evaluating', 'awaiting_approval', 'canary');

CREATE TABLE run_vote (
  run_id  TEXT NOT NULL REFERENCES run (id),
  vote_id INTEGER NOT NULL REFERENCES vote (id),
  weight  DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (run_id, vote_id)
);

CREATE TABLE adapter_version (
  digest           TEXT NOT NULL,
  persona          TEXT NOT NULL,
  version          TEXT NOT NULL,
  base_fingerprint TEXT NOT NULL,
  path             TEXT NOT NULL,
  parent           TEXT,
  run_id           TEXT REFERENCES run (id),
  snapshot_digest  TEXT,
  config_digest    TEXT,
  report           TEXT,
  created_at       DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (persona, digest)
);
CREATE UNIQUE INDEX adapter_version_name ON adapter_version (persona, base_fingerprint, version);

CREATE TABLE alias (
  persona          TEXT NOT NULL,
  base_fingerprint TEXT NOT NULL,
  alias            TEXT NOT NULL CHECK (alias IN ('champion', 'challenger', 'previous')),
  digest           TEXT NOT NULL,
  since            DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (persona, base_fingerprint, alias),
  FOREIGN KEY (persona, digest) REFERENCES adapter_version (persona, digest)
);

CREATE TABLE audit (
  id         INTEGER PRIMARY KEY,
  actor      TEXT NOT NULL,
  act        TEXT NOT NULL,
  subject    TEXT NOT NULL,
  detail     TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL
);
