-- name: add_conversation
INSERT INTO conversation (id, platform, chat, thread, persona, is_direct, created_at)
VALUES (:id, :platform, :chat, :thread, :persona, :is_direct, :now)
ON CONFLICT (platform, chat, thread, persona) WHERE closed_at IS NULL DO NOTHING;

-- name: live_conversation
SELECT id, platform, chat, thread, persona, created_at,
  (SELECT COALESCE(MAX(erasure.id), 0) FROM erasure) AS last_erasure
FROM conversation
WHERE platform = :platform AND chat = :chat AND thread = :thread AND persona = :persona AND closed_at IS NULL;

-- name: close_conversation
UPDATE conversation SET closed_at = :now
WHERE platform = :platform AND chat = :chat AND thread = :thread AND persona = :persona AND closed_at IS NULL
RETURNING id;

-- name: history
SELECT reply_id, role, author_hash, author_name, text FROM (
  SELECT id, reply_id, role, author_hash, author_name, text FROM message
  WHERE conversation_id = :conversation_id ORDER BY id DESC LIMIT :most
) AS newest ORDER BY id;

-- name: add_message
INSERT INTO message (conversation_id, reply_id, inbox_id, role, author_hash, author_name, lang, text, created_at)
VALUES (:conversation_id, :reply_id, :inbox_id, :role, :author_hash, :author_name, :lang, :text, :now)
ON CONFLICT (reply_id, inbox_id, role) DO NOTHING;

-- name: set_setting
INSERT INTO setting (scope, scope_id, name, value, updated_at)
VALUES (:scope, :scope_id, :name, :value, :now)
ON CONFLICT (scope, scope_id, name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at;

-- name: get_setting
SELECT value FROM setting WHERE scope = :scope AND scope_id = :scope_id AND name = :name;
