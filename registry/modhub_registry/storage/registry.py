"""Everything that answering a request needs, in one value that the application holds."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from modhub import fsops
from modhub_registry.checks.inspector import Inspector
from modhub_registry.storage.blobs import FolderBlobs
from modhub_registry.storage.database import Database, now_ms
from modhub_registry.storage.repos import count_downloads
from modhub_registry.storage.tables import audit, repo_blobs, repos, values
from modhub_registry.storage.trees import Trees
from modhub_registry.storage.upsert import insert_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from modhub_registry.settings import Settings
    from modhub_registry.storage.blobs import Blobs

SECRET_BYTES = 32


@dataclass(kw_only=True)
class Registry:
    """The stores of one registry; made by `open_registry`."""

    settings: Settings
    database: Database
    blobs: Blobs
    secret: bytes
    inspector: Inspector
    trees: Trees = field(default_factory=Trees)
    _downloads: dict[int, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def note_download(self, repo_id: int) -> None:
        """Count a download; the number reaches the database now and then."""
        with self._lock:
            self._downloads[repo_id] = self._downloads.get(repo_id, 0) + 1

    def write_downloads(self) -> None:
        """Write the downloads that were counted since the last time."""
        with self._lock:
            counts, self._downloads = self._downloads, {}
        if not counts:
            return
        try:
            with self.database.writing() as connection:
                count_downloads(connection, counts)
        except SQLAlchemyError:
            with self._lock:
                for id, count in counts.items():
                    self._downloads[id] = self._downloads.get(id, 0) + count
            raise

    def close(self) -> None:
        """Write what is left to write, and close the database."""
        self.write_downloads()
        self.inspector.close()
        self.database.close()


def open_database(settings: Settings) -> Database:
    """Return the database of a registry, with its tables up to date.

    Raises:
        UsageError: its address is wrong.
        StorageError: the folder cannot be made.
    """
    fsops.make_folder(settings.root)
    database = Database(settings.database) if settings.database else Database.in_folder(settings.root)
    database.migrate()
    return database


def open_registry(settings: Settings) -> Registry:
    """Return the registry that settings describe, made where there is none yet.

    Raises:
        UsageError: an address is wrong.
        StorageError: the folder cannot be made.
    """
    database = open_database(settings)
    with database.writing() as connection:
        secret = _secret(connection)
    blobs = _blobs(settings)
    return Registry(settings=settings, database=database, blobs=blobs, secret=secret, inspector=Inspector(blobs))


def write_audit(
    connection: Connection, *, user: str, token: str, action: str, subject: str, detail: Mapping[str, object]
) -> None:
    """Add a line to the log, in the transaction of what it tells."""
    row = {"at": now_ms(), "user": user, "token": token, "action": action, "subject": subject[:256]}
    connection.execute(insert(audit), {**row, "detail": dict(detail)})


def read_audit(connection: Connection, *, before: int, limit: int) -> list[dict[str, object]]:
    """Return lines of the log, newest first, that are older than one of them; 0 for the newest."""
    older = audit.c.id < before if before else audit.c.id > 0
    rows = connection.execute(select(audit).where(older).order_by(audit.c.id.desc()).limit(limit)).mappings()
    return [dict(row) for row in rows]


def owner_bytes(connection: Connection, owner: str) -> int:
    """Return what the repositories of an owner hold, each content once a repository."""
    joined = repo_blobs.join(repos, repo_blobs.c.repo_id == repos.c.id)
    total = select(func.coalesce(func.sum(repo_blobs.c.size), 0)).select_from(joined)
    return int(connection.scalar(total.where(repos.c.owner == owner, repos.c.deleted_at.is_(None))) or 0)


def _blobs(settings: Settings) -> Blobs:
    if settings.store:
        from modhub_registry.storage.object_blobs import ObjectBlobs

        return ObjectBlobs(settings.store, spool=settings.root / "spool")
    return FolderBlobs(settings.root / "blobs")


def _secret(connection: Connection) -> bytes:
    """Return the secret that links are signed with: all workers on one database share it."""
    import secrets

    insert_missing(connection, values, [{"key": "secret", "value": secrets.token_hex(SECRET_BYTES)}])
    found = connection.scalar(select(values.c.value).where(values.c.key == "secret"))
    return hmac.digest(bytes.fromhex(str(found)), b"upload links", hashlib.sha256)
