-- Who judges which reply, and which replies may be shown for it at all.

-- A conversation of which nobody said what it is counts as private: its replies are never shown to others.
ALTER TABLE conversation ADD COLUMN is_direct INTEGER NOT NULL DEFAULT 1 CHECK (is_direct IN (0, 1));
-- Quotation marks within a JSON text are escaped, so this is the event's own field.
UPDATE conversation SET is_direct = 0 WHERE id IN (
  SELECT reply.conversation_id FROM reply JOIN inbox ON inbox.id = reply.inbox_id
  WHERE inbox.payload LIKE '%"is_direct": false%');

CREATE TABLE review_claim (
  reply_id       TEXT NOT NULL REFERENCES reply (id) ON DELETE CASCADE,
  moderator_hash TEXT NOT NULL,
  state          TEXT NOT NULL CHECK (state IN ('claimed', 'judged', 'skipped')),
  wanted         TEXT, -- the persona that the moderator asked for; NULL is any
  claimed_until  DOUBLE PRECISION NOT NULL,
  updated_at     DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (reply_id, moderator_hash)
);
CREATE UNIQUE INDEX review_claim_of_reply ON review_claim (reply_id) WHERE state = 'claimed';
CREATE UNIQUE INDEX review_claim_of_moderator ON review_claim (moderator_hash) WHERE state = 'claimed';
CREATE INDEX review_claim_latest ON review_claim (moderator_hash, updated_at);

CREATE INDEX reply_guarded ON reply (id) WHERE guard IS NOT NULL AND guard <> '[]';
CREATE INDEX reply_alternative ON reply (parent_reply_id) WHERE parent_reply_id IS NOT NULL;
CREATE INDEX message_of_author ON message (author_hash, conversation_id) WHERE author_hash IS NOT NULL;
CREATE INDEX vote_pair ON vote (other_reply_id) WHERE other_reply_id IS NOT NULL;

-- Shown in a chat of several people, of whom none, up to that reply, said no to training.
CREATE VIEW reviewable AS
SELECT reply.id, reply.persona, reply.conversation_id, shown.id AS message_id
FROM reply
JOIN conversation ON conversation.id = reply.conversation_id
JOIN message AS shown ON shown.reply_id = reply.id AND shown.role = 'assistant'
LEFT JOIN (
  SELECT conversation_id, MIN(id) AS since FROM message
  WHERE author_hash IN (SELECT rater_hash FROM consent WHERE answer = 'no' AND closed_at IS NULL)
  GROUP BY conversation_id) AS refused
  ON refused.conversation_id = reply.conversation_id
WHERE reply.state = 'complete' AND COALESCE(reply.error, '') <> 'forgotten' AND conversation.is_direct = 0
  AND (refused.since IS NULL OR refused.since > shown.id);

-- What moderators think, as it stands; a pair says it of both replies.
CREATE VIEW verdict AS
SELECT reply_id, rater_hash, kind, value FROM vote
WHERE closed_at IS NULL AND role = 'moderator' AND (kind <> 'thumb' OR value <> 0)
UNION ALL
SELECT other_reply_id, rater_hash, kind, value FROM vote
WHERE closed_at IS NULL AND role = 'moderator' AND other_reply_id IS NOT NULL;
