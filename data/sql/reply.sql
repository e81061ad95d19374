-- name: open_reply
INSERT INTO reply (
  id, inbox_id, conversation_id, parent_reply_id, persona, platform, chat, state, lang, messages, lore,
  base, base_fingerprint, dtype, quantize, adapter, adapter_digest, arm, sampling, seed, created_at)
VALUES (
  :id, :inbox_id, :conversation_id, :parent_reply_id, :persona, :platform, :chat, 'generating', :lang, :messages,
  :lore, :base, :base_fingerprint, :dtype, :quantize, :adapter, :adapter_digest, :arm, :sampling, :seed, :now)
ON CONFLICT (inbox_id) DO UPDATE SET
  state = 'generating', error = NULL, conversation_id = excluded.conversation_id, persona = excluded.persona,
  lang = excluded.lang, messages = excluded.messages, lore = excluded.lore, base = excluded.base,
  base_fingerprint = excluded.base_fingerprint, dtype = excluded.dtype, quantize = excluded.quantize,
  adapter = excluded.adapter, adapter_digest = excluded.adapter_digest, arm = excluded.arm,
  sampling = excluded.sampling, seed = excluded.seed
WHERE reply.state <> 'complete';

-- name: reply_of_inbox_item
SELECT * FROM reply WHERE inbox_id = :inbox_id;

-- name: reply_by_id
SELECT * FROM reply WHERE id = :id;

-- name: complete_reply
UPDATE reply SET
  state = 'complete', text = :text, finish_reason = :finish_reason, prompt_tokens = :prompt_tokens,
  completion_tokens = :completion_tokens, first_text_s = :first_text_s, seconds = :seconds, guard = :guard,
  completed_at = :now
WHERE id = :id AND state = 'generating'
RETURNING conversation_id, inbox_id, lang;

-- name: fail_reply
UPDATE reply SET state = 'failed', error = :error WHERE id = :id AND state = 'generating';

-- name: reply_of_message
SELECT reply_id FROM outbox
WHERE platform = :platform AND chat = :chat AND platform_message_id = :message_id AND reply_id IS NOT NULL;

-- name: add_to_outbox
INSERT INTO outbox (
  inbox_id, slot, part, reply_id, platform, chat, thread, state, nonce, text, created_at, updated_at)
VALUES (
  :inbox_id, :slot, :part, :reply_id, :platform, :chat, :thread, 'sending', :nonce,
  CASE WHEN EXISTS (SELECT 1 FROM inbox WHERE id = :inbox_id AND user_hash = 'forgotten') THEN '' ELSE :text END,
  :now, :now)
RETURNING id, inbox_id, slot, part, state, nonce, platform_message_id, text, updated_at;

-- name: mark_outbox
UPDATE outbox SET state = :state, updated_at = :now,
  text = CASE
    WHEN EXISTS (SELECT 1 FROM inbox WHERE inbox.id = outbox.inbox_id AND inbox.user_hash = 'forgotten') THEN ''
    ELSE :text END,
  platform_message_id = COALESCE(:platform_message_id, platform_message_id)
WHERE id = :id;

-- name: outbox_of_inbox_item
SELECT id, inbox_id, slot, part, state, nonce, platform_message_id, text, updated_at FROM outbox
WHERE inbox_id = :inbox_id AND slot = :slot ORDER BY part;

-- name: outbox_states
SELECT state, COUNT(*) AS many FROM outbox GROUP BY state;

-- name: replies_since
SELECT COUNT(*) AS many FROM reply WHERE created_at >= :since;
