-- name: latest_erasure
SELECT COALESCE(MAX(id), 0) AS id FROM erasure;

-- name: forgotten_item
SELECT id FROM inbox WHERE id = :id AND user_hash = 'forgotten';

-- name: replies_to
SELECT reply.id FROM reply JOIN inbox ON inbox.id = reply.inbox_id
WHERE inbox.user_hash = :rater_hash ORDER BY reply.id;

-- name: regenerated
SELECT id, parent_reply_id FROM reply WHERE parent_reply_id IS NOT NULL;

-- name: own_chats
SELECT DISTINCT platform, chat FROM inbox WHERE user_hash = :rater_hash
EXCEPT
SELECT DISTINCT platform, chat FROM inbox WHERE user_hash <> :rater_hash;

-- name: forget_prompts
UPDATE reply SET messages = '[]', error = 'forgotten'
WHERE conversation_id IN (SELECT conversation_id FROM message WHERE author_hash = :rater_hash)
  AND COALESCE(error, '') <> 'forgotten'
  AND inbox_id NOT IN (SELECT id FROM inbox WHERE user_hash = :rater_hash)
  AND NOT EXISTS (
    SELECT 1 FROM message AS own WHERE own.reply_id = reply.id AND own.id < (
      SELECT MIN(said.id) FROM message AS said
      WHERE said.conversation_id = reply.conversation_id AND said.author_hash = :rater_hash))
RETURNING id;

-- name: forget_prompt_of_item
UPDATE reply SET messages = '[]', error = 'forgotten' WHERE inbox_id = :inbox_id;

-- name: forget_reply
UPDATE reply SET
  state = CASE WHEN state = 'generating' THEN 'failed' ELSE state END,
  error = 'forgotten', messages = '[]', lore = '[]', text = NULL, guard = NULL
WHERE id = :id;

-- name: forget_answer
DELETE FROM message WHERE reply_id = :id AND role = 'assistant';

-- name: forget_sent
UPDATE outbox SET text = '' WHERE reply_id = :id;

-- name: forget_said
DELETE FROM message WHERE author_hash = :rater_hash RETURNING id;

-- name: forget_sent_to
UPDATE outbox SET text = '' WHERE inbox_id IN (SELECT id FROM inbox WHERE user_hash = :rater_hash);

-- name: forget_votes
UPDATE vote SET
  rater_hash = 'forgotten', role = 'user', value = 0, reason = NULL, other_reply_id = NULL, text = NULL,
  consent = 'no', source = 'forgotten', closed_at = COALESCE(closed_at, :now)
WHERE rater_hash = :rater_hash RETURNING id;

-- name: forget_rewrites
UPDATE vote SET text = NULL, closed_at = COALESCE(closed_at, :now)
WHERE kind = 'rewrite' AND text IS NOT NULL
  AND reply_id IN (SELECT id FROM reply WHERE text IS NULL AND error = 'forgotten')
RETURNING id;

-- name: forget_tickets
UPDATE lore_ticket SET state = 'closed' WHERE state = 'open' AND (
  vote_id IN (SELECT id FROM vote WHERE rater_hash = 'forgotten')
  OR reply_id IN (SELECT id FROM reply WHERE text IS NULL AND error = 'forgotten'));

-- name: forget_claims
DELETE FROM review_claim WHERE moderator_hash = :rater_hash;

-- name: forget_consents
DELETE FROM consent WHERE rater_hash = :rater_hash RETURNING id;

-- name: forget_settings
DELETE FROM setting WHERE scope = 'user' AND scope_id = :rater_hash RETURNING name;

-- name: forget_settings_of_chat
DELETE FROM setting
WHERE (scope = 'channel' AND scope_id = :place)
  OR (scope = 'thread' AND SUBSTR(scope_id, 1, LENGTH(:place) + 1) = :place || ':')
RETURNING name;

-- name: leave_conversations
UPDATE conversation SET chat = 'forgotten', thread = '', closed_at = COALESCE(closed_at, :now)
WHERE platform = :platform AND chat = :chat;

-- name: leave_replies
UPDATE reply SET chat = 'forgotten' WHERE platform = :platform AND chat = :chat;

-- name: leave_outbox
UPDATE outbox SET chat = 'forgotten', thread = '', platform_message_id = NULL
WHERE platform = :platform AND chat = :chat;

-- name: leave_inbox
UPDATE inbox SET chat = 'forgotten', thread = '', message_id = 'forgotten ' || CAST(id AS TEXT)
WHERE platform = :platform AND chat = :chat;

-- name: forget_events
UPDATE inbox SET
  user_hash = 'forgotten', payload = '{}', error = 'forgotten',
  state = CASE WHEN state IN ('pending', 'handling') THEN 'expired' ELSE state END,
  settled_at = COALESCE(settled_at, :now)
WHERE user_hash = :rater_hash RETURNING kind;

-- name: add_erasure
INSERT INTO erasure (rater_hash, created_at, votes, replies) VALUES (:rater_hash, :now, :votes, :replies)
RETURNING id;

-- name: unswept_erasures
SELECT id, votes, replies FROM erasure WHERE swept_at IS NULL ORDER BY id;

-- name: mark_erasure_swept
UPDATE erasure SET swept_at = :now WHERE id = :id AND swept_at IS NULL;

-- name: runs_with_forgotten
SELECT DISTINCT run_vote.run_id, vote.id AS vote_id, vote.reply_id
FROM run_vote JOIN vote ON vote.id = run_vote.vote_id JOIN reply ON reply.id = vote.reply_id
WHERE vote.source = 'forgotten' OR reply.error = 'forgotten';

-- name: adapters_of_run
SELECT DISTINCT adapter.persona, adapter.base_fingerprint
FROM adapter_version AS adapter JOIN run ON run.id = adapter.run_id
WHERE run.id = :id AND run.state NOT IN ('failed', 'rejected');

-- name: mark_rebuild_due
INSERT INTO rebuild_due (persona, base_fingerprint, since) VALUES (:persona, :base_fingerprint, :now)
ON CONFLICT (persona, base_fingerprint) DO UPDATE SET since = excluded.since;

-- name: rebuilds_due
SELECT persona, base_fingerprint, since FROM rebuild_due ORDER BY since, persona, base_fingerprint;

-- name: clear_rebuild_due
DELETE FROM rebuild_due
WHERE persona = :persona AND base_fingerprint = :base_fingerprint AND since <= COALESCE(:until, since);

-- name: kept_messages
SELECT message.created_at, conversation.platform, conversation.chat, conversation.persona, message.lang,
  message.author_name, message.text, message.reply_id
FROM message JOIN conversation ON conversation.id = message.conversation_id
WHERE message.author_hash = :rater_hash ORDER BY message.id;

-- name: kept_replies
SELECT reply.created_at, reply.id AS reply_id, reply.persona, reply.platform, reply.chat, reply.lang, reply.text,
  reply.base, reply.adapter
FROM reply JOIN inbox ON inbox.id = reply.inbox_id
WHERE inbox.user_hash = :rater_hash AND reply.text IS NOT NULL ORDER BY reply.id;

-- name: kept_votes
SELECT created_at, closed_at, reply_id, kind, value, reason, other_reply_id, text, role, consent, source
FROM vote WHERE rater_hash = :rater_hash ORDER BY id;

-- name: kept_consents
SELECT created_at, closed_at, answer FROM consent WHERE rater_hash = :rater_hash ORDER BY id;

-- name: kept_settings
SELECT updated_at, name, value FROM setting WHERE scope = 'user' AND scope_id = :rater_hash ORDER BY name;

-- name: kept_events
SELECT received_at, platform, chat, thread, message_id, kind, state, payload
FROM inbox WHERE user_hash = :rater_hash ORDER BY id;
