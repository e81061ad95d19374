-- What people got lately: asked at every tick, of a table whose rows hold whole prompts.
CREATE INDEX reply_latest ON reply (created_at);
