-- name: live_vote
SELECT * FROM vote
WHERE reply_id = :reply_id AND rater_hash = :rater_hash AND kind = :kind AND closed_at IS NULL;

-- name: close_vote
UPDATE vote SET closed_at = :now WHERE id = :id AND closed_at IS NULL;

-- name: add_vote
INSERT INTO vote (
  reply_id, rater_hash, role, kind, value, reason, other_reply_id, text, consent, source, created_at)
VALUES (
  :reply_id, :rater_hash, :role, :kind, :value, :reason, :other_reply_id, :text, :consent, :source, :now)
RETURNING id;

-- name: live_votes_of_rater
SELECT * FROM vote WHERE rater_hash = :rater_hash AND closed_at IS NULL ORDER BY id;

-- name: votes_of_reply
SELECT * FROM vote WHERE reply_id = :reply_id ORDER BY id;

-- name: live_consent
SELECT id, answer FROM consent WHERE rater_hash = :rater_hash AND closed_at IS NULL;

-- name: close_consent
UPDATE consent SET closed_at = :now WHERE id = :id AND closed_at IS NULL;

-- name: add_consent
INSERT INTO consent (rater_hash, answer, created_at) VALUES (:rater_hash, :answer, :now);

-- name: vote_counts
SELECT reply.persona, vote.kind, vote.value, vote.consent, COUNT(*) AS many
FROM vote JOIN reply ON reply.id = vote.reply_id
WHERE vote.closed_at IS NULL
GROUP BY reply.persona, vote.kind, vote.value, vote.consent
ORDER BY reply.persona, vote.kind, vote.value DESC, vote.consent;

-- name: thumbs
WITH active AS (
  SELECT author_hash, COUNT(*) AS many FROM message WHERE role = 'user' GROUP BY author_hash)
SELECT vote.id, vote.reply_id, reply.conversation_id, reply.persona, vote.rater_hash, vote.value, vote.role,
  vote.consent, vote.reason, NULLIF(reply.guard, '[]') AS guard, COALESCE(active.many, 0) AS messages,
  (SELECT COUNT(DISTINCT said.author_hash)
   FROM message AS said
   LEFT JOIN consent ON consent.rater_hash = said.author_hash AND consent.closed_at IS NULL
   WHERE said.conversation_id = reply.conversation_id AND said.role = 'user'
     AND said.author_hash <> vote.rater_hash
     AND said.id <= (SELECT MAX(own.id) FROM message AS own WHERE own.reply_id = reply.id)
     AND COALESCE(consent.answer, 'asked') <> 'yes') AS silent_others,
  COALESCE(vote_use.consumed, 0) AS consumed, COALESCE(vote_use.tries, 0) AS tries
FROM vote JOIN reply ON reply.id = vote.reply_id
LEFT JOIN active ON active.author_hash = vote.rater_hash
LEFT JOIN vote_use ON vote_use.vote_id = vote.id
WHERE vote.closed_at IS NULL AND vote.kind = 'thumb' AND vote.value <> 0
  AND COALESCE(reply.error, '') <> 'forgotten'
ORDER BY vote.id;

-- name: pairs
SELECT vote.id, vote.reply_id, vote.other_reply_id, reply.conversation_id, reply.persona, vote.rater_hash,
  vote.value, vote.role, vote.consent, NULLIF(reply.guard, '[]') AS guard,
  NULLIF(other.guard, '[]') AS other_guard,
  (SELECT COUNT(DISTINCT said.author_hash)
   FROM reply AS shown
   JOIN message AS said ON said.conversation_id = shown.conversation_id
   LEFT JOIN consent ON consent.rater_hash = said.author_hash AND consent.closed_at IS NULL
   WHERE shown.id IN (reply.id, other.id) AND said.role = 'user' AND said.author_hash <> vote.rater_hash
     AND said.id <= COALESCE(
       (SELECT MAX(own.id) FROM message AS own WHERE own.reply_id IN (shown.id, shown.parent_reply_id)), said.id)
     AND COALESCE(consent.answer, 'asked') <> 'yes') AS silent_others,
  COALESCE(vote_use.consumed, 0) AS consumed, COALESCE(vote_use.tries, 0) AS tries
FROM vote JOIN reply ON reply.id = vote.reply_id JOIN reply AS other ON other.id = vote.other_reply_id
LEFT JOIN vote_use ON vote_use.vote_id = vote.id
WHERE vote.closed_at IS NULL AND vote.kind = 'pair'
  AND 'forgotten' NOT IN (COALESCE(reply.error, ''), COALESCE(other.error, ''))
ORDER BY vote.id;

-- name: rewrites
SELECT vote.id, vote.reply_id, reply.conversation_id, reply.persona, vote.rater_hash, vote.role, vote.consent,
  vote.text, NULLIF(reply.guard, '[]') AS guard,
  (SELECT COUNT(DISTINCT said.author_hash)
   FROM message AS said
   LEFT JOIN consent ON consent.rater_hash = said.author_hash AND consent.closed_at IS NULL
   WHERE said.conversation_id = reply.conversation_id AND said.role = 'user'
     AND said.author_hash <> vote.rater_hash
     AND said.id <= (SELECT MAX(own.id) FROM message AS own WHERE own.reply_id = reply.id)
     AND COALESCE(consent.answer, 'asked') <> 'yes') AS silent_others,
  COALESCE(vote_use.consumed, 0) AS consumed, COALESCE(vote_use.tries, 0) AS tries
FROM vote JOIN reply ON reply.id = vote.reply_id
LEFT JOIN vote_use ON vote_use.vote_id = vote.id
WHERE vote.closed_at IS NULL AND vote.kind = 'rewrite' AND vote.value <> 0 AND vote.text IS NOT NULL
  AND COALESCE(reply.error, '') <> 'forgotten'
ORDER BY vote.id;
