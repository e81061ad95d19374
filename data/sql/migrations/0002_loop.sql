-- What the loop needs to know of a run, which votes are spent, and what else it keeps.

ALTER TABLE run ADD COLUMN decision TEXT;
ALTER TABLE run ADD COLUMN reason TEXT;
ALTER TABLE run ADD COLUMN challenger TEXT;
ALTER TABLE run ADD COLUMN approved_by TEXT;
ALTER TABLE run ADD COLUMN share INTEGER CHECK (share BETWEEN 1 AND 100);
ALTER TABLE run ADD COLUMN share_since DOUBLE PRECISION;
ALTER TABLE run ADD COLUMN canary_since DOUBLE PRECISION;
ALTER TABLE run ADD COLUMN promoted_at DOUBLE PRECISION;
-- What the aliases named before the run's adapter was tried or promoted: the way back.
ALTER TABLE run ADD COLUMN champion_before TEXT;
ALTER TABLE run ADD COLUMN previous_before TEXT;
UPDATE run SET challenger = (SELECT MAX(digest) FROM adapter_version WHERE adapter_version.run_id = run.id);

CREATE INDEX vote_judgement ON vote (reply_id, rater_hash, kind);
CREATE INDEX reply_arm ON reply (persona, created_at) WHERE arm IS NOT NULL;

-- What incremental runs did with a live vote, or with an earlier row that said the same: rows are copied when
-- a reason or an answer to the consent question comes later, and a judgement is learnt once.
CREATE VIEW vote_use AS
SELECT vote.id AS vote_id,
  MAX(CASE WHEN run.state = 'promoted' THEN 1 ELSE 0 END) AS consumed,
  MAX(CASE WHEN run.state IN ('claimed', 'snapshotted', 'training', 'evaluating', 'awaiting_approval', 'canary')
      THEN 1 ELSE 0 END) AS taken,
  COUNT(DISTINCT CASE WHEN run.state IN ('rejected', 'rolled_back') THEN run.id END) AS tries
FROM run
JOIN run_vote ON run_vote.run_id = run.id
JOIN vote AS used ON used.id = run_vote.vote_id
JOIN vote ON vote.reply_id = used.reply_id AND vote.rater_hash = used.rater_hash AND vote.kind = used.kind
  AND vote.value = used.value AND COALESCE(vote.other_reply_id, '') = COALESCE(used.other_reply_id, '')
  AND vote.closed_at IS NULL AND (vote.kind <> 'rewrite' OR COALESCE(vote.text, '') = COALESCE(used.text, ''))
WHERE run.kind = 'incremental'
GROUP BY vote.id;

CREATE TABLE job (
  name    TEXT PRIMARY KEY,
  last_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE lore_ticket (
  id         INTEGER PRIMARY KEY,
  vote_id    INTEGER NOT NULL UNIQUE REFERENCES vote (id),
  reply_id   TEXT NOT NULL REFERENCES reply (id),
  persona    TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('open', 'closed')),
  created_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX lore_ticket_open ON lore_ticket (persona, id) WHERE state = 'open';
