-- name: add_to_inbox
INSERT INTO inbox (platform, chat, thread, message_id, user_hash, kind, state, attempts, payload, received_at)
VALUES (:platform, :chat, :thread, :message_id, :user_hash, :kind, 'pending', 0, :payload, :now)
ON CONFLICT (platform, chat, message_id) DO NOTHING
RETURNING id;

-- name: open_inbox_items
SELECT id, platform, chat, thread, message_id, user_hash, kind, state, attempts, payload, received_at
FROM inbox
WHERE platform = :platform AND id > :after AND state IN ('pending', 'handling')
ORDER BY id LIMIT :most;

-- name: begin_inbox_item
UPDATE inbox SET state = 'handling', attempts = attempts + 1
WHERE id = :id AND state IN ('pending', 'handling')
RETURNING attempts;

-- name: settle_inbox_item
UPDATE inbox SET state = :state, error = :error, settled_at = :now
WHERE id = :id AND state IN ('pending', 'handling')
RETURNING id;

-- name: expire_inbox
UPDATE inbox SET state = 'expired', settled_at = :now
WHERE platform = :platform AND state IN ('pending', 'handling')
RETURNING id;

-- name: add_note
INSERT INTO inbox (
  platform, chat, thread, message_id, user_hash, kind, state, attempts, payload, received_at, settled_at)
VALUES (:platform, :chat, :thread, :message_id, :user_hash, :kind, 'done', 0, :payload, :now, :now)
ON CONFLICT (platform, chat, message_id) DO NOTHING;

-- name: inbox_item
SELECT id, platform, chat, thread, message_id, user_hash, kind, state, attempts, payload, received_at
FROM inbox WHERE platform = :platform AND chat = :chat AND message_id = :message_id;

-- name: inbox_states
SELECT state, COUNT(*) AS many FROM inbox GROUP BY state;

-- name: set_cursor
INSERT INTO cursor (platform, name, value) VALUES (:platform, :name, :value)
ON CONFLICT (platform, name) DO UPDATE SET value = excluded.value;

-- name: get_cursor
SELECT value FROM cursor WHERE platform = :platform AND name = :name;
