-- name: live_vote
SELECT * FROM vote
WHERE reply_id = :reply_id AND rater_hash = :rater_hash AND kind = :kind AND closed_at IS NULL;

-- name: close_vote
UPDATE vote SET closed_at = :now WHERE id = :id AND closed_at IS NULL;

-- name: add_vote
INSERT INTO vote (
  reply_id, rater_hash, role, kind, value, reason, other_reply_id, text, consent, source, created_at)
VALUES (
  :reply_id, :rater_hash, :role, :kind, :value, :reason, :other_reply_id, :text, :consent, :source, :now);

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
