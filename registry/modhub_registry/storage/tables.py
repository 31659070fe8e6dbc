"""The tables. Times are milliseconds since 1970, trees and cards are JSON."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only under this name.

repos = Table(
    "repos",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("owner", String(96), nullable=False),
    Column("name", String(96), nullable=False),
    # Two names with one key would be confused. A deleted repository keeps its row, so its name stays reserved.
    Column("key", String(200), nullable=False),
    Column("private", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("downloads", BigInteger, nullable=False),
    Column("sha", String(40), nullable=False),
    Column("tags", JSON, nullable=False),
    Column("card", JSON, nullable=False),
    UniqueConstraint("kind", "key"),
    Index("repos_by_owner", "kind", "owner"),
    Index("repos_by_update", "kind", "updated_at", "id"),
    Index("repos_by_creation", "kind", "created_at", "id"),
    Index("repos_by_downloads", "kind", "downloads", "id"),
)

repo_tags = Table(
    "repo_tags",
    metadata,
    Column("repo_id", NUMBER, ForeignKey("repos.id"), primary_key=True),
    Column("tag", String(256), primary_key=True),
    Index("repos_by_tag", "tag", "repo_id"),
)

refs = Table(
    "refs",
    metadata,
    Column("repo_id", NUMBER, ForeignKey("repos.id"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("commit_id", String(40), nullable=False),
)

commits = Table(
    "commits",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("repo_id", NUMBER, ForeignKey("repos.id"), nullable=False),
    Column("parent", String(40)),
    Column("tree", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("author", String(96), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

trees = Table(
    "trees",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("entries", Text, nullable=False),
)

repo_blobs = Table(
    "repo_blobs",
    metadata,
    Column("repo_id", NUMBER, ForeignKey("repos.id"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("oid", String(40), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("user", String(96), nullable=False),
    Column("scope", String(8), nullable=False),
    Column("owners", JSON, nullable=False),
    Column("label", String(96), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

audit = Table(
    "audit",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("user", String(96), nullable=False),
    Column("token", String(16), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(256), nullable=False),
    Column("detail", JSON, nullable=False),
)

values = Table(
    "values",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
