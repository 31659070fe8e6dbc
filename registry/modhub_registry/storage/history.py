"""Commits, branches and tags.

Of all who commit on one parent exactly one succeeds: the branch is moved by one statement that names the parent it
moves from, in the transaction that writes the commit.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import CursorResult, and_, delete, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from modhub_registry.errors import Malformed, RevisionNotFound, StaleParent, Taken
from modhub_registry.storage.blobs import Blob
from modhub_registry.storage.database import now_ms
from modhub_registry.storage.tables import commits, refs, repo_blobs
from modhub_registry.storage.upsert import insert_missing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import Connection

    from modhub_registry.storage.repos import Repo

MAIN = "main"
BRANCH, TAG = "branch", "tag"
COMMIT_ID = re.compile(r"[0-9a-f]{40}")
REF_NAME = re.compile(r"[A-Za-z0-9_+@-][A-Za-z0-9._+@/-]*")
REF_LENGTH = 200
AT_ONCE = 500
"""Contents asked for by one query."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A state of all files, and how it came to be."""

    id: str
    repo_id: int
    parent: str | None
    tree: str
    title: str
    message: str
    author: str
    created_at: int


@dataclass(frozen=True, kw_only=True)
class Ref:
    """A branch or a tag."""

    kind: str
    name: str
    commit_id: str


def new_commit(*, parent: Commit | None, repo_id: int, tree: str, title: str, message: str, author: str) -> Commit:
    """Return a commit that is not written yet; no two have one id."""
    now = now_ms()
    fields = [repo_id, parent.id if parent else None, tree, title, message, author, now, secrets.token_hex(16)]
    id = hashlib.sha1(json.dumps(fields).encode(), usedforsecurity=False).hexdigest()
    return Commit(
        id=id,
        repo_id=repo_id,
        parent=parent.id if parent else None,
        tree=tree,
        title=title,
        message=message,
        author=author,
        created_at=now,
    )


def write_commit(connection: Connection, commit: Commit) -> None:
    """Write a commit that no branch has yet."""
    connection.execute(insert(commits), {name: getattr(commit, name) for name in Commit.__dataclass_fields__})


def advance(connection: Connection, commit: Commit, *, branch: str) -> None:
    """Move a branch from a commit's parent to the commit.

    Raises:
        StaleParent: the branch is somewhere else.
    """
    place = and_(_at(commit.repo_id, BRANCH, branch), refs.c.commit_id == commit.parent)
    done: CursorResult[Any] = connection.execute(update(refs).where(place).values(commit_id=commit.id))
    if done.rowcount != 1:
        raise StaleParent(f"the branch {branch} is no longer at {commit.parent}: read it again, and try again")


def resolve(connection: Connection, repo: Repo, revision: str) -> Commit:
    """Return the commit that a branch, a tag, a commit id or ``HEAD`` names.

    Raises:
        RevisionNotFound: nothing does.
    """
    name = MAIN if revision == "HEAD" else revision
    named = connection.execute(
        select(commits)
        .join(refs, and_(refs.c.commit_id == commits.c.id, refs.c.repo_id == commits.c.repo_id))
        .where(refs.c.repo_id == repo.id, refs.c.name == name)
        .order_by(refs.c.kind)
    )
    first = named.mappings().first()
    if first is None and COMMIT_ID.fullmatch(revision):
        place = and_(commits.c.id == revision, commits.c.repo_id == repo.id)
        first = connection.execute(select(commits).where(place)).mappings().first()
    if first is None:
        raise RevisionNotFound(f"{repo.full_name} has no revision {revision!r}")
    return Commit(**{str(name): first[name] for name in first})


def branch_head(connection: Connection, repo: Repo, branch: str) -> Commit:
    """Return the newest commit of a branch.

    Raises:
        RevisionNotFound: there is no such branch.
    """
    joined = refs.join(commits, refs.c.commit_id == commits.c.id)
    row = connection.execute(select(commits).select_from(joined).where(_at(repo.id, BRANCH, branch)))
    first = row.mappings().first()
    if first is None:
        raise RevisionNotFound(f"{repo.full_name} has no branch {branch!r}")
    return Commit(**{str(name): first[name] for name in first})


def log(connection: Connection, repo: Repo, start: str, *, limit: int) -> list[Commit]:
    """Return a commit and those before it, newest first."""
    first = select(commits, literal(1).label("depth")).where(commits.c.id == start, commits.c.repo_id == repo.id)
    chain = first.cte("chain", recursive=True)
    older = select(commits, chain.c.depth + 1).join(chain, commits.c.id == chain.c.parent)
    chain = chain.union_all(older.where(chain.c.depth < limit))
    rows = connection.execute(select(chain).order_by(chain.c.depth).limit(limit)).mappings()
    return [Commit(**{name: row[name] for name in Commit.__dataclass_fields__}) for row in rows]


def all_refs(connection: Connection, repo: Repo) -> list[Ref]:
    """Return the branches and tags, sorted by name."""
    rows = connection.execute(select(refs).where(refs.c.repo_id == repo.id).order_by(refs.c.name))
    return [Ref(kind=row.kind, name=row.name, commit_id=row.commit_id) for row in rows]


def add_ref(connection: Connection, repo_id: int, ref: Ref) -> None:
    """Make a branch or a tag.

    Raises:
        Malformed: its name breaks the rules.
        Taken: it exists.
    """
    check_ref_name(ref.name)
    row = {"repo_id": repo_id, "kind": ref.kind, "name": ref.name, "commit_id": ref.commit_id}
    try:
        with connection.begin_nested():
            connection.execute(insert(refs), row)
    except IntegrityError as error:
        raise Taken(f"the {ref.kind} {ref.name} exists already") from error


def drop_ref(connection: Connection, repo_id: int, kind: str, name: str) -> None:
    """Delete a branch or a tag.

    Raises:
        RevisionNotFound: there is none of this name.
    """
    done: CursorResult[Any] = connection.execute(delete(refs).where(_at(repo_id, kind, name)))
    if done.rowcount != 1:
        raise RevisionNotFound(f"there is no {kind} {name!r}")


def check_ref_name(name: object) -> str:
    """Return the name of a new branch or tag.

    Raises:
        Malformed: it is no text that Git would take, or would be mistaken for a commit.
    """
    if not isinstance(name, str) or not REF_NAME.fullmatch(name) or len(name) > REF_LENGTH:
        raise Malformed(f"{name!r} is no name for a branch or tag; expected letters, digits and any of '._+@/-'")
    strange = ".." in name or "//" in name or "@{" in name or name.endswith(("/", ".", ".lock"))
    if strange or name in {"HEAD", "@"} or COMMIT_ID.fullmatch(name):
        raise Malformed(f"{name!r} is no name that Git takes for a branch or tag")
    return name


def remember_blobs(connection: Connection, repo_id: int, blobs: Iterable[Blob]) -> None:
    """Note that contents were sent to a repository, whose commits may name them from now on."""
    rows = [{"repo_id": repo_id, "sha256": b.sha256, "size": b.size, "oid": b.oid} for b in blobs]
    insert_missing(connection, repo_blobs, rows)


def known_blobs(connection: Connection, repo_id: int, digests: Iterable[str]) -> dict[str, Blob]:
    """Return those of some contents that were sent to a repository, by their digests."""
    wanted = sorted(set(digests))
    found: dict[str, Blob] = {}
    for start in range(0, len(wanted), AT_ONCE):
        part = repo_blobs.c.sha256.in_(wanted[start : start + AT_ONCE])
        for row in connection.execute(select(repo_blobs).where(repo_blobs.c.repo_id == repo_id, part)):
            found[row.sha256] = Blob(sha256=row.sha256, size=row.size, oid=row.oid)
    return found


def _at(repo_id: int, kind: str, name: str) -> Any:
    return and_(refs.c.repo_id == repo_id, refs.c.kind == kind, refs.c.name == name)
