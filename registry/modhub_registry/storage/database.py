"""The database: SQLite in a file, or PostgreSQL by its address.

Every request uses one transaction. Nothing is answered with success before its transaction is on the disk.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from modhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

BUSY_SECONDS = 30.0
"""How long a writer waits for another one in SQLite, where there is one at a time."""

CONNECTIONS = 48
"""At most; more than the threads that answer requests, so that none waits."""

MIGRATION_LOCK = 0x6D6F6468
"""What workers of PostgreSQL that start together take turns by."""


class Database:
    """Transactions on the tables.

    Args:
        address: of a database.

    Raises:
        UsageError: the address is none that this server can use.
    """

    def __init__(self, address: str) -> None:
        url = _checked(address)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}} if self.is_sqlite else {}
        self.engine = create_engine(
            url, pool_size=8, max_overflow=CONNECTIONS - 8, pool_pre_ping=not self.is_sqlite, **options
        )
        if self.is_sqlite:
            _prepare_sqlite(self.engine)

    @classmethod
    def in_folder(cls, folder: Path) -> Database:
        """Return the SQLite database of a registry's folder."""
        return cls(URL.create("sqlite", database=str(folder / "registry.sqlite")).render_as_string())

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run the block in a transaction that sees one state of all tables and changes nothing."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run the block in a transaction; when it ends, what it did is on the disk, or undone if it raised."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def migrate(self) -> None:
        """Bring the tables up to date; workers that start at the same time take turns."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(files("modhub_registry.migrations")))
        config.set_main_option("path_separator", "os")
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _checked(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise UsageError(f"the database {address!r} has no address such as postgresql://host/name") from error
    backend = url.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise UsageError(f"the database is {backend!r}; expected sqlite or postgresql")
    return url.set(drivername="postgresql+psycopg") if backend == "postgresql" else url


def _prepare_sqlite(engine: Engine) -> None:
    """Make SQLite durable, let readers read while one writes, and take the writer's turn when a block begins."""

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's module would begin transactions too late.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    def began(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", began)
