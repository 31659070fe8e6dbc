"""Repositories: making, finding, listing and deleting them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from modhub.errors import InvalidName
from modhub.spec.names import CollectionId
from modhub_registry.errors import Malformed, RepoNotFound, Taken
from modhub_registry.storage.database import now_ms
from modhub_registry.storage.tables import refs, repo_tags, repos

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import ColumnElement, Connection

KINDS = ("model", "dataset", "space")
RESERVED_OWNERS = frozenset(
    {"api", "assets", "catalog", "datasets", "healthz", "metrics", "models", "spaces", "static"}
)
PAGE = 1000
"""Repositories of one page, at most."""

SORTS = {
    "lastModified": repos.c.updated_at,
    "last_modified": repos.c.updated_at,
    "createdAt": repos.c.created_at,
    "created_at": repos.c.created_at,
    "downloads": repos.c.downloads,
    "trendingScore": repos.c.downloads,
    "trending_score": repos.c.downloads,
    "likes": repos.c.downloads,
}
"""What a list may be sorted by; what nobody counts here is sorted by downloads."""

TAG_LENGTH = 256


@dataclass(frozen=True, kw_only=True)
class Repo:
    """A repository: what its card says (`card`, `tags`) is that of the newest commit on its main branch."""

    id: int
    kind: str
    owner: str
    name: str
    private: bool
    created_at: int
    updated_at: int
    downloads: int
    sha: str
    tags: tuple[str, ...]
    card: Mapping[str, Any]

    @property
    def full_name(self) -> str:
        """Return ``owner/name``."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a list is asked for.

    Args:
        tags: all of which a repository must have.
        visible_to: owners whose private repositories may be seen; None for all.
        cursor: where the page before ended.
    """

    kind: str = "model"
    tags: tuple[str, ...] = ()
    author: str = ""
    search: str = ""
    sort: str = "lastModified"
    ascending: bool = False
    limit: int = PAGE
    visible_to: frozenset[str] | None = field(default_factory=frozenset)
    cursor: str = ""


def checked_name(owner: str, name: str) -> CollectionId:
    """Return the name of a new repository.

    Raises:
        Malformed: it breaks the rules for names, or is kept for the server's own pages.
    """
    try:
        found = CollectionId(owner, name)
    except InvalidName as error:
        raise Malformed(str(error)) from error
    if owner.lower() in RESERVED_OWNERS:
        raise Malformed(f"the owner {owner!r} is kept for the server's own pages; choose another one")
    return found


def create(connection: Connection, name: CollectionId, *, kind: str, private: bool, sha: str) -> int:
    """Make a repository, and return its number.

    Raises:
        Taken: one has this name, had it, or has one that would be confused with it.
    """
    now = now_ms()
    row = {
        "kind": kind,
        "owner": name.owner,
        "name": name.name,
        "key": name.key,
        "private": private,
        "created_at": now,
        "updated_at": now,
        "deleted_at": None,
        "downloads": 0,
        "sha": sha,
        "tags": [],
        "card": {},
    }
    try:
        with connection.begin_nested():
            return int(connection.execute(insert(repos).returning(repos.c.id), row).scalar_one())
    except IntegrityError as error:
        raise _taken(connection, name, kind) from error


def find(connection: Connection, kind: str, owner: str, name: str) -> Repo:
    """Return a repository.

    Raises:
        RepoNotFound: there is none of this name.
    """
    place = and_(repos.c.kind == kind, repos.c.owner == owner, repos.c.name == name, repos.c.deleted_at.is_(None))
    row = connection.execute(select(repos).where(place)).mappings().one_or_none()
    if row is None:
        raise RepoNotFound(f"there is no {kind} {owner}/{name}, or it is not for you")
    return _repo(row)


def owner_of(connection: Connection, id: int) -> tuple[str, str]:
    """Return owner and name of a repository by its number.

    Raises:
        RepoNotFound: it was deleted.
    """
    place = and_(repos.c.id == id, repos.c.deleted_at.is_(None))
    row = connection.execute(select(repos.c.owner, repos.c.name).where(place)).one_or_none()
    if row is None:
        raise RepoNotFound("the repository that this link was made for is gone")
    return row.owner, row.name


def remove(connection: Connection, repo: Repo) -> None:
    """Delete a repository; its name stays reserved, and its files stay for who must look into what happened."""
    connection.execute(update(repos).where(repos.c.id == repo.id).values(deleted_at=now_ms(), tags=[], card={}))
    connection.execute(delete(repo_tags).where(repo_tags.c.repo_id == repo.id))
    connection.execute(delete(refs).where(refs.c.repo_id == repo.id))


def set_private(connection: Connection, repo: Repo, *, private: bool) -> None:
    """Hide a repository, or show it."""
    connection.execute(update(repos).where(repos.c.id == repo.id).values(private=private))


def describe(connection: Connection, repo: Repo, *, sha: str, tags: Iterable[str], card: Mapping[str, Any]) -> None:
    """Write what the newest commit on the main branch says of its repository."""
    kept = sorted({tag for tag in tags if 0 < len(tag) <= TAG_LENGTH})
    place = repos.c.id == repo.id
    connection.execute(update(repos).where(place).values(sha=sha, tags=kept, card=dict(card), updated_at=now_ms()))
    if tuple(kept) != repo.tags:
        connection.execute(delete(repo_tags).where(repo_tags.c.repo_id == repo.id))
        if kept:
            connection.execute(insert(repo_tags), [{"repo_id": repo.id, "tag": tag} for tag in kept])


def count_downloads(connection: Connection, counts: Mapping[int, int]) -> None:
    """Add to the numbers of downloads, in one order, so that two workers never wait for one another."""
    for id, count in sorted(counts.items()):
        connection.execute(update(repos).where(repos.c.id == id).values(downloads=repos.c.downloads + count))


def page(connection: Connection, wanted: Wanted) -> tuple[list[Repo], str]:
    """Return a page of repositories, and the cursor of the next one, empty at the end.

    Raises:
        Malformed: the sorting is unknown, or the cursor is none of ours.
    """
    column = SORTS.get(wanted.sort)
    if column is None:
        raise Malformed(f"a list cannot be sorted by {wanted.sort!r}; expected one of {', '.join(sorted(SORTS))}")
    conditions = _conditions(wanted)
    if wanted.cursor:
        value, id = _opened(wanted.cursor)
        later = column > value if wanted.ascending else column < value
        tied = repos.c.id > id if wanted.ascending else repos.c.id < id
        conditions.append(or_(later, and_(column == value, tied)))
    order = [column.asc(), repos.c.id.asc()] if wanted.ascending else [column.desc(), repos.c.id.desc()]
    limit = max(1, min(wanted.limit, PAGE))
    rows = connection.execute(select(repos).where(*conditions).order_by(*order).limit(limit + 1)).mappings().all()
    cursor = ""
    if len(rows) > limit:
        last = rows[limit - 1]
        cursor = base64.urlsafe_b64encode(json.dumps([last[column.name], last["id"]]).encode()).decode()
    return [_repo(row) for row in rows[:limit]], cursor


def count(connection: Connection) -> int:
    """Return how many repositories there are."""
    return int(connection.scalar(select(func.count()).select_from(repos).where(repos.c.deleted_at.is_(None))) or 0)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [repos.c.kind == wanted.kind, repos.c.deleted_at.is_(None)]
    if wanted.author:
        conditions.append(repos.c.owner == wanted.author)
    conditions += [repos.c.id.in_(select(repo_tags.c.repo_id).where(repo_tags.c.tag == tag)) for tag in wanted.tags]
    for word in wanted.search.lower().split():
        name = func.lower(repos.c.owner + "/" + repos.c.name)
        tagged = select(repo_tags.c.repo_id).where(func.lower(repo_tags.c.tag).contains(word, autoescape=True))
        conditions.append(or_(name.contains(word, autoescape=True), repos.c.id.in_(tagged)))
    if wanted.visible_to is not None:
        conditions.append(or_(repos.c.private.is_(False), repos.c.owner.in_(sorted(wanted.visible_to))))
    return conditions


def _opened(cursor: str) -> tuple[int, int]:
    try:
        value, id = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, TypeError) as error:
        raise Malformed(f"the cursor {cursor[:60]!r} is none that this server gave") from error
    if not isinstance(value, int) or not isinstance(id, int) or max(abs(value), abs(id)) >= 1 << 63:
        raise Malformed(f"the cursor {cursor[:60]!r} is none that this server gave")
    return value, id


def _repo(row: Mapping[Any, Any]) -> Repo:
    kept = {name: row[name] for name in Repo.__dataclass_fields__}
    return Repo(**{**kept, "tags": tuple(kept["tags"])})


def _taken(connection: Connection, name: CollectionId, kind: str) -> Taken:
    row = connection.execute(select(repos).where(repos.c.kind == kind, repos.c.key == name.key)).one()
    if row.deleted_at is not None:
        return Taken(f"{row.owner}/{row.name} was deleted; its name stays reserved, so that nobody takes its place")
    if (row.owner, row.name) == (name.owner, name.name):
        return Taken(f"You already created this {kind} repo: {name}")
    return Taken(f"there is {row.owner}/{row.name}, which {name} would be mistaken for")
