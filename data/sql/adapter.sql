-- name: add_adapter
INSERT INTO adapter_version (
  digest, persona, version, base_fingerprint, path, parent, run_id, snapshot_digest, config_digest, report,
  created_at)
VALUES (
  :digest, :persona, :version, :base_fingerprint, :path, :parent, :run_id, :snapshot_digest, :config_digest,
  :report, :now)
ON CONFLICT (persona, digest) DO UPDATE SET
  path = excluded.path,
  parent = COALESCE(adapter_version.parent, excluded.parent),
  run_id = COALESCE(adapter_version.run_id, excluded.run_id),
  snapshot_digest = COALESCE(adapter_version.snapshot_digest, excluded.snapshot_digest),
  config_digest = COALESCE(adapter_version.config_digest, excluded.config_digest),
  report = COALESCE(adapter_version.report, excluded.report);

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

-- name: add_audit
INSERT INTO audit (actor, act, subject, detail, created_at) VALUES (:actor, :act, :subject, :detail, :now);

-- name: audits
SELECT actor, act, subject, detail, created_at FROM audit ORDER BY id DESC LIMIT :most;
