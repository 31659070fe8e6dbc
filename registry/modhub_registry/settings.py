"""What an operator may choose, and the limits of what clients may send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The sizes, in bytes, and counts up to which requests are answered.

    Args:
        regular_bytes: files up to this size travel inside the commit, larger ones go ahead by a link.
        file_bytes: one file.
        commit_bytes: the body of one commit.
        json_bytes: any other body.
        multipart_bytes: files above this size travel in parts, where the client can.
        part_bytes: one of these parts.
        files_per_commit: operations of one commit.
        link_seconds: how long a link for an upload works.
        requests_per_minute: of one token, or of one address without a token; 0 for no limit.
        wrong_tokens: from one address within five minutes, before its tokens are not looked at; 0 for no limit.
        owner_bytes: what all repositories of one owner may hold; 0 for no limit.
    """

    regular_bytes: int = 16 * MIB
    file_bytes: int = 64 * GIB
    commit_bytes: int = 1 * GIB
    json_bytes: int = 4 * MIB
    multipart_bytes: int = 256 * MIB
    part_bytes: int = 64 * MIB
    files_per_commit: int = 25_000
    link_seconds: int = 3600
    requests_per_minute: int = 12_000
    wrong_tokens: int = 10
    owner_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a registry keeps what it keeps, and how open it is.

    Args:
        root: the folder of the database and the blobs, where the two next say nothing else.
        database: the address of a database, such as ``postgresql://host/name``; empty for SQLite in the folder.
        store: the address of a store of blobs, such as ``s3://bucket/prefix``; empty for the folder.
        public_url: how clients reach the server, for links in answers; empty to take it from each request.
        private: whether reading takes a token too.
        checks: ``full`` to look into every package, ``index`` to check no more than the index and the digests.
    """

    root: Path
    database: str = ""
    store: str = ""
    public_url: str = ""
    private: bool = False
    checks: str = "full"
    limits: Limits = field(default_factory=Limits)
