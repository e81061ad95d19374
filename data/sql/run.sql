-- name: add_run
INSERT INTO run (
  id, persona, base_fingerprint, kind, state, owner, attempt, config_digest, reference_version, seed,
  snapshot_digest, created_at, updated_at)
VALUES (
  :id, :persona, :base_fingerprint, :kind, :state, :owner, 0, :config_digest, :reference_version, :seed,
  :snapshot_digest, :now, :now)
ON CONFLICT (persona, base_fingerprint)
  WHERE state IN ('claimed', 'snapshotted', 'training', 'evaluating', 'awaiting_approval', 'canary')
  DO NOTHING
RETURNING id;

-- name: add_run_vote
INSERT INTO run_vote (run_id, vote_id, weight) VALUES (:run_id, :vote_id, :weight);

-- name: free_votes
SELECT vote.id FROM vote
JOIN reply ON reply.id = vote.reply_id
LEFT JOIN vote_use ON vote_use.vote_id = vote.id
WHERE reply.persona = :persona AND vote.closed_at IS NULL AND COALESCE(reply.error, '') <> 'forgotten'
  AND (:kind <> 'incremental' OR COALESCE(vote_use.consumed + vote_use.taken, 0) = 0);

-- name: votes_learnt_elsewhere
SELECT mine.vote_id FROM run_vote AS mine
JOIN vote AS own ON own.id = mine.vote_id
JOIN vote AS used ON used.reply_id = own.reply_id AND used.rater_hash = own.rater_hash AND used.kind = own.kind
  AND used.value = own.value AND COALESCE(used.other_reply_id, '') = COALESCE(own.other_reply_id, '')
  AND (used.kind <> 'rewrite' OR COALESCE(used.text, '') = COALESCE(own.text, ''))
JOIN run_vote AS theirs ON theirs.vote_id = used.id
JOIN run AS other ON other.id = theirs.run_id
WHERE mine.run_id = :id AND other.id <> :id AND other.kind = 'incremental'
  AND other.state IN (
    'claimed', 'snapshotted', 'training', 'evaluating', 'awaiting_approval', 'canary', 'promoted')
LIMIT 1;

-- name: run_by_id
SELECT * FROM run WHERE id = :id;

-- name: runs
SELECT * FROM run ORDER BY created_at, id;

-- name: live_runs
SELECT * FROM run
WHERE state IN ('claimed', 'snapshotted', 'training', 'evaluating', 'awaiting_approval', 'canary')
ORDER BY created_at, id;

-- name: run_of_adapter
SELECT * FROM run WHERE persona = :persona AND base_fingerprint = :base_fingerprint AND challenger = :digest
ORDER BY CASE WHEN state = 'promoted' THEN 0 ELSE 1 END, created_at DESC, id DESC LIMIT 1;

-- name: claimable_runs
SELECT * FROM run
WHERE state = 'snapshotted' OR (state = 'training' AND lease_until <= :now)
ORDER BY created_at, id;

-- name: claim_run
UPDATE run SET
  state = 'training', owner = :owner, lease_until = :lease_until, attempt = attempt + 1, updated_at = :now
WHERE id = :id AND state = :was AND attempt = :attempt
RETURNING *;

-- name: renew_run
UPDATE run SET lease_until = :lease_until, updated_at = :now
WHERE id = :id AND owner = :owner AND attempt = :attempt AND state = 'training'
RETURNING id;

-- name: move_run
UPDATE run SET
  state = :state, lease_until = NULL, updated_at = :now,
  snapshot_digest = COALESCE(:snapshot_digest, snapshot_digest),
  challenger = COALESCE(:challenger, challenger),
  report = COALESCE(:report, report),
  error = COALESCE(:error, error),
  decision = COALESCE(:decision, decision),
  reason = COALESCE(:reason, reason),
  approved_by = COALESCE(:approved_by, approved_by),
  share = COALESCE(:share, share),
  share_since = COALESCE(:share_since, share_since),
  canary_since = COALESCE(:canary_since, canary_since),
  promoted_at = COALESCE(:promoted_at, promoted_at),
  champion_before = COALESCE(:champion_before, champion_before),
  previous_before = COALESCE(:previous_before, previous_before)
WHERE id = :id AND state = :was AND attempt = :attempt
RETURNING id;

-- name: votes_of_run
SELECT vote_id, weight FROM run_vote WHERE run_id = :run_id ORDER BY vote_id;

-- name: consumed_votes
SELECT run_vote.vote_id, run_vote.run_id FROM run_vote JOIN run ON run.id = run_vote.run_id
WHERE run.kind = 'incremental' AND run.state = 'promoted' ORDER BY run_vote.vote_id;

-- name: arm_replies
SELECT arm, conversation_id, state, guard, is_slow, is_asked_again, COUNT(*) AS many
FROM (
  SELECT reply.arm, reply.conversation_id, reply.state, reply.guard,
    CASE WHEN reply.first_text_s > :slow_s THEN 1 ELSE 0 END AS is_slow,
    CASE WHEN EXISTS (SELECT 1 FROM reply AS another WHERE another.parent_reply_id = reply.id)
      THEN 1 ELSE 0 END AS is_asked_again
  FROM reply
  WHERE reply.persona = :persona AND reply.created_at >= :since AND reply.state IN ('complete', 'failed')
    AND ((reply.arm = 'champion' AND COALESCE(reply.adapter_digest, '') = COALESCE(:champion, ''))
      OR (reply.arm = 'challenger' AND reply.adapter_digest = :challenger))
) AS heard
GROUP BY arm, conversation_id, state, guard, is_slow, is_asked_again;

-- name: arm_thumbs
SELECT reply.arm, reply.conversation_id, vote.rater_hash, vote.value
FROM reply JOIN vote ON vote.reply_id = reply.id
WHERE reply.persona = :persona AND reply.created_at >= :since
  AND ((reply.arm = 'champion' AND COALESCE(reply.adapter_digest, '') = COALESCE(:champion, ''))
    OR (reply.arm = 'challenger' AND reply.adapter_digest = :challenger))
  AND vote.kind = 'thumb' AND vote.closed_at IS NULL AND vote.value <> 0
  AND (vote.consent IN ('yes', 'vote') OR (vote.role = 'moderator' AND vote.consent = 'unasked'))
ORDER BY vote.id;

-- name: watched_replies
SELECT arm, conversation_id, state, guard, is_slow, is_asked_again, COUNT(*) AS many
FROM (
  SELECT CASE WHEN reply.created_at < :promoted_at THEN 'champion' ELSE 'challenger' END AS arm,
    reply.conversation_id, reply.state, reply.guard,
    CASE WHEN reply.first_text_s > :slow_s THEN 1 ELSE 0 END AS is_slow,
    CASE WHEN EXISTS (
        SELECT 1 FROM reply AS another JOIN inbox ON inbox.id = another.inbox_id
        WHERE another.parent_reply_id = reply.id AND inbox.message_id NOT LIKE 'review:%')
      THEN 1 ELSE 0 END AS is_asked_again
  FROM reply JOIN inbox AS asked ON asked.id = reply.inbox_id
  WHERE reply.persona = :persona AND reply.created_at >= :since AND reply.state IN ('complete', 'failed')
    AND ((reply.created_at < :promoted_at AND reply.arm = 'champion'
        AND COALESCE(reply.adapter_digest, '') = COALESCE(:champion, ''))
      OR (reply.created_at >= :promoted_at AND reply.adapter_digest = :challenger))
    AND asked.message_id NOT LIKE 'review:%'
) AS heard
GROUP BY arm, conversation_id, state, guard, is_slow, is_asked_again;

-- name: watched_thumbs
SELECT CASE WHEN reply.created_at < :promoted_at THEN 'champion' ELSE 'challenger' END AS arm,
  reply.conversation_id, vote.rater_hash, vote.value
FROM reply JOIN vote ON vote.reply_id = reply.id
WHERE reply.persona = :persona AND reply.created_at >= :since
  AND ((reply.created_at < :promoted_at AND reply.arm = 'champion'
      AND COALESCE(reply.adapter_digest, '') = COALESCE(:champion, ''))
    OR (reply.created_at >= :promoted_at AND reply.adapter_digest = :challenger))
  AND vote.kind = 'thumb' AND vote.closed_at IS NULL AND vote.value <> 0 AND vote.source <> 'review'
  AND (vote.consent IN ('yes', 'vote') OR (vote.role = 'moderator' AND vote.consent = 'unasked'))
ORDER BY vote.id;

-- name: get_job
SELECT last_at FROM job WHERE name = :name;

-- name: set_job
INSERT INTO job (name, last_at) VALUES (:name, :at)
ON CONFLICT (name) DO UPDATE SET last_at = excluded.last_at;

-- name: open_ticket
INSERT INTO lore_ticket (vote_id, reply_id, persona, state, created_at)
SELECT vote.id, vote.reply_id, reply.persona, 'open', :now
FROM vote JOIN reply ON reply.id = vote.reply_id
WHERE vote.id = :vote_id AND NOT EXISTS (
  SELECT 1 FROM lore_ticket AS known JOIN vote AS earlier ON earlier.id = known.vote_id
  WHERE known.state = 'open' AND earlier.reply_id = vote.reply_id AND earlier.rater_hash = vote.rater_hash);

-- name: open_tickets
SELECT lore_ticket.id, lore_ticket.vote_id, lore_ticket.reply_id, lore_ticket.persona, lore_ticket.state,
  lore_ticket.created_at, vote.text
FROM lore_ticket JOIN vote ON vote.id = lore_ticket.vote_id
WHERE lore_ticket.persona = :persona AND lore_ticket.state = 'open' ORDER BY lore_ticket.id;

-- name: close_ticket
UPDATE lore_ticket SET state = 'closed' WHERE id = :id AND state = 'open' RETURNING id;
