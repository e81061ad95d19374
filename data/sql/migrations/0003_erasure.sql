-- Who asked to be forgotten: ids only, as lineage of what was trained before.

CREATE TABLE erasure (
  id         INTEGER PRIMARY KEY,
  rater_hash TEXT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  votes      TEXT NOT NULL, -- JSON: ids of the votes that lost their words
  replies    TEXT NOT NULL, -- JSON: ids of the replies that lost their text or their prompt
  swept_at   DOUBLE PRECISION -- NULL until snapshots and the file's own free space hold nothing of it either
);
CREATE INDEX erasure_unswept ON erasure (id) WHERE swept_at IS NULL;

-- Personas with an adapter that was trained on rows which are erased by now.
CREATE TABLE rebuild_due (
  persona          TEXT NOT NULL,
  base_fingerprint TEXT NOT NULL,
  since            DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (persona, base_fingerprint)
);
