-- name: add_adapter
INSERT INTO adapter_version (
  digest, persona, version, base_fingerprint, path, parent, run_id, snapshot_digest, config_digest, report,
  created_at)
VALUES (
  :digest, :persona, :version, :base_fingerprint, :path, :parent, :run_id, :snapshot_digest, :config_digest,
  :report, :now)
ON CONFLICT (persona, digest) DO UPDATE SET path = excluded.path;

-- name: adapter_of_other_digest
SELECT digest FROM adapter_version
WHERE persona = :persona AND base_fingerprint = :base_fingerprint AND version = :version AND digest <> :digest;

-- name: adapters
SELECT digest, persona, version, base_fingerprint, path, parent, run_id, snapshot_digest, config_digest, report
FROM adapter_version WHERE base_fingerprint = :base_fingerprint ORDER BY created_at, version;

-- name: set_alias
INSERT INTO alias (persona, base_fingerprint, alias, digest, since)
VALUES (:persona, :base_fingerprint, :alias, :digest, :now)
ON CONFLICT (persona, base_fingerprint, alias) DO UPDATE SET digest = excluded.digest, since = excluded.since;

-- name: get_alias
SELECT digest FROM alias
WHERE persona = :persona AND base_fingerprint = :base_fingerprint AND alias = :alias;

-- name: aliases
SELECT alias.alias, version.digest, version.persona, version.version, version.base_fingerprint, version.path
FROM alias JOIN adapter_version AS version
  ON version.persona = alias.persona AND version.digest = alias.digest
WHERE alias.base_fingerprint = :base_fingerprint ORDER BY alias.persona, alias.alias;

-- name: remove_alias
DELETE FROM alias WHERE persona = :persona AND base_fingerprint = :base_fingerprint AND alias = :alias;

-- name: add_run
INSERT INTO run (
  id, persona, base_fingerprint, kind, state, owner, attempt, config_digest, reference_version, seed,
  snapshot_digest, created_at, updated_at)
VALUES (
  :id, :persona, :base_fingerprint, :kind, :state, :owner, 1, :config_digest, :reference_version, :seed,
  :snapshot_digest, :now, :now)
ON CONFLICT (persona, base_fingerprint)
  WHERE state IN ('claimed', 'snapshotted', 'training', 'evaluating', 'awaiting_approval', 'canary')
  DO NOTHING
RETURNING id;

-- name: move_run
UPDATE run SET state = :state, report = COALESCE(:report, report), error = :error, updated_at = :now
WHERE id = :id RETURNING id;

-- name: runs
SELECT id, persona, base_fingerprint, kind, state, attempt, seed, snapshot_digest, report, error, created_at
FROM run ORDER BY created_at;

-- name: add_audit
INSERT INTO audit (actor, act, subject, detail, created_at) VALUES (:actor, :act, :subject, :detail, :now);

-- name: audits
SELECT actor, act, subject, detail, created_at FROM audit ORDER BY id DESC LIMIT :most;

-- name: claim_run
UPDATE run SET
  state = 'training', owner = :owner, lease_until = :lease_until, updated_at = :now,
  attempt = CASE WHEN state = 'snapshotted' THEN attempt ELSE attempt + 1 END
WHERE id = (
  SELECT id FROM run
  WHERE state = 'snapshotted' OR (state = 'training' AND lease_until < :now)
  ORDER BY created_at LIMIT 1)
RETURNING id, persona, base_fingerprint, kind, state, attempt, seed, snapshot_digest, report, error, created_at;

-- name: renew_run
UPDATE run SET lease_until = :lease_until, updated_at = :now
WHERE id = :id AND owner = :owner AND attempt = :attempt AND state = 'training' RETURNING id;

-- name: finish_run
UPDATE run SET state = :state, report = :report, error = :error, lease_until = NULL, updated_at = :now
WHERE id = :id AND owner = :owner AND attempt = :attempt AND state = 'training' RETURNING id;
