"""The folder of run-time files, `$TROUPE_HOME`: where everything lies, the store's lock, the rater secret."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data.errors import DataError, StoreLocked

__all__ = ["Home", "rater_hash", "write_atomically"]

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Home:
    """Paths under one root; nothing is made before `prepare`."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store.db"

    @property
    def lock_file(self) -> Path:
        return self.root / "store.lock"

    @property
    def secret_file(self) -> Path:
        return self.root / "secret.key"

    @property
    def control_socket(self) -> Path:
        return self.root / "control.sock"

    @property
    def engine_file(self) -> Path:
        return self.root / "engine.json"

    @property
    def champions(self) -> Path:
        return self.root / "champions.json"

    @property
    def adapters(self) -> Path:
        return self.root / "adapters"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def personas(self) -> Path:
        return self.root / "personas"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def prepare(self) -> None:
        """Makes the root (for its owner alone) and the folders in it.

        Raises:
            DataError: the folder cannot be made.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.adapters, self.snapshots, self.runs, self.personas, self.logs):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(f"The folder {self.root} cannot be used: {error.strerror}.") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the store's lock; the kernel lets go of it when the process dies, however it dies.

        Raises:
            StoreLocked: another process holds it.
        """
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreLocked from error
            yield
        finally:
            os.close(descriptor)

    def secret(self) -> bytes:
        """The key of the rater hashes, made once and readable by the owner alone.

        Raises:
            DataError: the file is there but does not hold a key.
        """
        if not self.secret_file.exists():
            write_atomically(self.secret_file, secrets.token_hex(SECRET_BYTES), mode=0o600)
        try:
            key = bytes.fromhex(self.secret_file.read_text(encoding="ascii").strip())
        except (OSError, ValueError) as error:
            raise DataError(f"{self.secret_file} cannot be read as a key.") from error
        if len(key) != SECRET_BYTES:
            raise DataError(f"{self.secret_file} is cut off; restore it from a backup.")
        return key


def rater_hash(secret: bytes, platform: str, user: str) -> str:
    """A person's lasting pseudonym: without the key nobody can tell whose it is."""
    return hmac.new(secret, f"{platform}:{user}".encode(), hashlib.sha256).hexdigest()


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replaces a file so that a reader sees the old text or the new one, whatever dies in between."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
