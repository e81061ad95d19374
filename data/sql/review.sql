-- name: drop_late_claims
DELETE FROM review_claim WHERE state = 'claimed' AND claimed_until <= :now;

-- name: drop_own_claim
DELETE FROM review_claim WHERE moderator_hash = :moderator AND state = 'claimed';

-- name: release_review
DELETE FROM review_claim
WHERE reply_id = :reply_id AND moderator_hash = :moderator AND state = 'claimed';

-- name: own_claim
SELECT reviewable.id FROM review_claim AS claim JOIN reviewable ON reviewable.id = claim.reply_id
WHERE claim.moderator_hash = :moderator AND claim.state = 'claimed'
  AND (:persona IS NULL OR reviewable.persona = :persona);

-- name: urgent_review
WITH urgent (reply_id, rank) AS (
  SELECT reply_id, 0 FROM verdict WHERE kind = 'thumb' GROUP BY reply_id HAVING SUM(value) = 0
  UNION ALL
  SELECT id, 1 FROM reply WHERE guard IS NOT NULL AND guard <> '[]'
  UNION ALL
  SELECT reply_id, CASE WHEN kind = 'flag' OR reason = 'unsafe' THEN 1 ELSE 2 END FROM vote
  WHERE closed_at IS NULL AND (kind = 'flag' OR (kind = 'thumb' AND value < 0)))
SELECT reviewable.id FROM urgent JOIN reviewable ON reviewable.id = urgent.reply_id
WHERE (:persona IS NULL OR reviewable.persona = :persona)
  AND (urgent.rank = 0 OR NOT EXISTS (SELECT 1 FROM verdict WHERE verdict.reply_id = reviewable.id))
  AND :moderator NOT IN (SELECT rater_hash FROM verdict WHERE verdict.reply_id = reviewable.id)
  AND :moderator NOT IN (
    SELECT author_hash FROM message WHERE message.reply_id = reviewable.id AND message.role = 'user')
  AND NOT EXISTS (
    SELECT 1 FROM review_claim AS claim WHERE claim.reply_id = reviewable.id
      AND (claim.state = 'claimed' OR claim.moderator_hash = :moderator))
ORDER BY urgent.rank, reviewable.id DESC LIMIT 1;

-- name: newest_review
SELECT reviewable.id FROM reviewable
WHERE (:persona IS NULL OR reviewable.persona = :persona)
  AND NOT EXISTS (SELECT 1 FROM verdict WHERE verdict.reply_id = reviewable.id)
  AND :moderator NOT IN (
    SELECT author_hash FROM message WHERE message.reply_id = reviewable.id AND message.role = 'user')
  AND NOT EXISTS (
    SELECT 1 FROM review_claim AS claim WHERE claim.reply_id = reviewable.id
      AND (claim.state = 'claimed' OR claim.moderator_hash = :moderator))
ORDER BY reviewable.id DESC LIMIT 1;

-- name: review_for
SELECT reviewable.id,
  (SELECT state FROM review_claim AS claim
   WHERE claim.reply_id = reviewable.id AND claim.moderator_hash = :moderator) AS own_state,
  EXISTS (
    SELECT 1 FROM review_claim AS claim WHERE claim.reply_id = reviewable.id
      AND claim.state = 'claimed' AND claim.claimed_until > :now
      AND claim.moderator_hash <> :moderator) AS is_held,
  EXISTS (
    SELECT 1 FROM verdict
    WHERE verdict.reply_id = reviewable.id AND verdict.rater_hash <> :moderator) AS is_judged
FROM reviewable
WHERE reviewable.id = :reply_id AND :moderator NOT IN (
  SELECT author_hash FROM message WHERE message.reply_id = reviewable.id AND message.role = 'user');

-- name: claim_review
INSERT INTO review_claim (reply_id, moderator_hash, state, wanted, claimed_until, updated_at)
VALUES (:reply_id, :moderator, 'claimed', :persona, :until, :now)
ON CONFLICT (reply_id, moderator_hash) DO UPDATE SET
  state = excluded.state, claimed_until = excluded.claimed_until, updated_at = excluded.updated_at;

-- name: judge_review
INSERT INTO review_claim (reply_id, moderator_hash, state, wanted, claimed_until, updated_at)
VALUES (:reply_id, :moderator, 'judged', NULL, :now, :now)
ON CONFLICT (reply_id, moderator_hash) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at;

-- name: skip_review
UPDATE review_claim SET state = 'skipped', updated_at = :now
WHERE reply_id = :reply_id AND moderator_hash = :moderator AND state = 'claimed';

-- name: wanted_review
SELECT wanted FROM review_claim WHERE moderator_hash = :moderator ORDER BY updated_at DESC LIMIT 1;

-- name: count_reviews
SELECT
  (SELECT COUNT(*) FROM (
    SELECT 1 FROM reviewable
    WHERE NOT EXISTS (SELECT 1 FROM verdict WHERE verdict.reply_id = reviewable.id)
      AND NOT EXISTS (
        SELECT 1 FROM review_claim AS claim WHERE claim.reply_id = reviewable.id
          AND claim.moderator_hash = :moderator AND claim.state = 'skipped')
    LIMIT :most) AS unjudged) AS waiting,
  (SELECT COUNT(*) FROM review_claim WHERE moderator_hash = :moderator AND state = 'judged') AS judged;

-- name: said_before
SELECT reply_id, role, author_hash, author_name, text FROM (
  SELECT message.* FROM reviewable
  JOIN message ON message.conversation_id = reviewable.conversation_id AND message.id < reviewable.message_id
  WHERE reviewable.id = :reply_id ORDER BY message.id DESC LIMIT :most
) AS newest ORDER BY id;

-- name: alternative_of
SELECT * FROM reply
WHERE parent_reply_id = :reply_id AND state = 'complete'
  AND NOT EXISTS (SELECT 1 FROM message WHERE message.reply_id = reply.id)
ORDER BY id DESC LIMIT 1;

-- name: close_contrary_pair
UPDATE vote SET closed_at = :now
WHERE reply_id = :other_reply_id AND other_reply_id = :reply_id AND rater_hash = :rater_hash
  AND kind = 'pair' AND closed_at IS NULL;
