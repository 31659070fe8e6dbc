"""The files of a commit, as folders named by the digest of what they list.

A folder that does not change is shared by all commits that have it, so a commit costs what it changes, and two
folders are equal exactly when their digests are. Laws: ``changed(root, {})`` is ``root``; the order of changes does
not matter; a folder without files does not exist.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import select

from modhub_registry.errors import Malformed
from modhub_registry.storage.tables import trees
from modhub_registry.storage.upsert import insert_missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

PATH_BYTES = 1024
"""A path in a repository. It is what the largest file systems take."""

NAME_BYTES = 255
"""One component of it."""

DEPTH = 32
"""Components of a path."""

CACHED_BYTES = 2 << 20
"""Folders kept in memory, by the size of their JSON; as values they take about three times as much."""

AT_ONCE = 500
"""Folders asked for by one query."""


@dataclass(frozen=True, slots=True)
class File:
    """A file: where its content is, its size in bytes, its id as Git counts, and whether it came as a large one."""

    sha256: str
    size: int
    oid: str
    lfs: bool


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, by the digest of what it lists."""

    id: str


Entry = File | Folder
Listing = dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Found:
    """An entry and the path it was found at."""

    path: str
    entry: Entry


class Trees:
    """Folders by their digest; they never change, so they are kept in memory while there is room."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Listing, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def folder(self, connection: Connection, id: str) -> Listing:
        """Return what a folder lists, sorted by name."""
        return self.folders(connection, [id])[id]

    def folders(self, connection: Connection, ids: Iterable[str]) -> dict[str, Listing]:
        """Return what several folders list."""
        wanted = list(dict.fromkeys(ids))
        found = {id: listing for id in wanted if (listing := self._remembered(id)) is not None}
        missing = [id for id in wanted if id not in found]
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            for row in connection.execute(select(trees).where(trees.c.id.in_(part))):
                found[row.id] = self._remember(row.id, row.entries)
        return found

    def find(self, connection: Connection, root: str, path: str) -> Entry | None:
        """Return the entry at a path, or None; the empty path is the root."""
        entry: Entry | None = Folder(root)
        for name in path.split("/") if path else ():
            if not isinstance(entry, Folder):
                return None
            entry = self.folder(connection, entry.id).get(name)
        return entry

    def walk(
        self, connection: Connection, root: str, *, at: str = "", after: str = "", recursive: bool = True
    ) -> Iterator[Found]:
        """Yield the entries below a folder in the order of their paths, folders before what they hold.

        Args:
            at: the path of the folder itself.
            after: begin behind this path.
            recursive: go into folders.
        """
        listing = self.folder(connection, root)
        seen = _parts(after)
        depth = len(_parts(at))
        inner = [entry.id for entry in listing.values() if isinstance(entry, Folder)] if recursive else []
        self.folders(connection, inner)
        for name, entry in listing.items():
            path = f"{at}/{name}" if at else name
            if seen and (*_parts(at), name) < tuple(seen[: depth + 1]):
                continue
            if not seen or tuple(_parts(path)) > tuple(seen):
                yield Found(path, entry)
            if recursive and isinstance(entry, Folder):
                yield from self.walk(connection, entry.id, at=path, after=after)

    def changed(
        self, connection: Connection, root: str, changes: Mapping[str, File | None], *, new: dict[str, str]
    ) -> str:
        """Return the root that differs from another in some paths; None there takes away a file or a whole folder.

        Args:
            new: where the JSON of folders that may not be stored yet is put, by digest.

        Raises:
            Malformed: a path would be a file and a folder at once.
        """
        split = {tuple(_parts(path)): file for path, file in changes.items()}
        return self._changed(connection, root, split, new=new, at="") or empty_tree(new)

    def store(self, connection: Connection, new: Mapping[str, str]) -> None:
        """Write folders that are not there yet."""
        ids = list(new)
        there: set[str] = set()
        for start in range(0, len(ids), AT_ONCE):
            part = ids[start : start + AT_ONCE]
            there.update(connection.scalars(select(trees.c.id).where(trees.c.id.in_(part))))
        rows = [{"id": id, "entries": entries} for id, entries in sorted(new.items()) if id not in there]
        insert_missing(connection, trees, rows)

    def _changed(
        self,
        connection: Connection,
        id: str | None,
        changes: Mapping[tuple[str, ...], File | None],
        *,
        new: dict[str, str],
        at: str,
    ) -> str | None:
        """Return a folder's digest after changes to paths within it; None where nothing is left."""
        listing = self._listed(connection, id, new)
        here = {path[0]: file for path, file in changes.items() if len(path) == 1}
        deeper: dict[str, dict[tuple[str, ...], File | None]] = {}
        for (name, *rest), file in changes.items():
            if rest:
                deeper.setdefault(name, {})[tuple(rest)] = file
        for name in [name for name, file in here.items() if file is None]:
            listing.pop(name, None)
        for name, inner in deeper.items():
            self._change_folder(connection, listing, name, inner, new=new, at=at)
        for name, file in here.items():
            if file is not None:
                if isinstance(listing.get(name), Folder):
                    raise Malformed(f"{at}{name} is a folder, and cannot be a file too")
                listing[name] = file
        return _id_of(listing, new) if listing else None

    def _change_folder(
        self,
        connection: Connection,
        listing: Listing,
        name: str,
        inner: Mapping[tuple[str, ...], File | None],
        *,
        new: dict[str, str],
        at: str,
    ) -> None:
        entry = listing.get(name)
        if isinstance(entry, File):
            if not any(inner.values()):
                return
            raise Malformed(f"{at}{name} is a file, and cannot be a folder too")
        id = self._changed(connection, entry.id if entry else None, inner, new=new, at=f"{at}{name}/")
        if id is None:
            listing.pop(name, None)
        else:
            listing[name] = Folder(id)

    def _listed(self, connection: Connection, id: str | None, new: Mapping[str, str]) -> Listing:
        if id is None:
            return {}
        return _read(new[id]) if id in new else dict(self.folder(connection, id))

    def _remembered(self, id: str) -> Listing | None:
        with self._lock:
            kept = self._kept.get(id)
            if kept is not None:
                self._kept.move_to_end(id)
            return kept[0] if kept else None

    def _remember(self, id: str, entries: str) -> Listing:
        listing = _read(entries)
        with self._lock:
            if id not in self._kept:
                self._kept[id] = (listing, len(entries))
                self._bytes += len(entries)
            while self._bytes > CACHED_BYTES and len(self._kept) > 1:
                _, (_, size) = self._kept.popitem(last=False)
                self._bytes -= size
        return listing


def check_path(path: object) -> str:
    """Return a path in a repository: plain components, none of them hidden from anybody.

    Raises:
        Malformed: it is no text, would leave the repository, or exceeds a limit.
    """
    if not isinstance(path, str) or not path:
        raise Malformed(f"a path is {path!r}; expected a text such as 'folder/file.bin'")
    parts = path.split("/")
    if len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES or len(parts) > DEPTH:
        raise Malformed(f"the path {path[:60]!r}... has more than {PATH_BYTES} bytes or {DEPTH} components")
    for part in parts:
        if part in {"", ".", ".."} or part.lower() == ".git" or "\\" in part or not part.isprintable():
            raise Malformed(f"the path {path!r} holds {part!r}; expected plain names between the slashes")
        if len(part.encode("utf-8")) > NAME_BYTES:
            raise Malformed(f"the path {path[:60]!r}... holds a name of more than {NAME_BYTES} bytes")
    return path


def empty_tree(new: dict[str, str]) -> str:
    """Return the digest of a folder without entries, which only a root can be."""
    return _id_of({}, new)


def _id_of(listing: Listing, new: dict[str, str]) -> str:
    rows: dict[str, list[object]] = {}
    for name, entry in sorted(listing.items()):
        rows[name] = [entry.id] if isinstance(entry, Folder) else [entry.sha256, entry.size, entry.oid, entry.lfs]
    text = json.dumps(rows, separators=(",", ":"))
    id = hashlib.sha256(text.encode()).hexdigest()
    new[id] = text
    return id


def _read(entries: str) -> Listing:
    return {name: Folder(row[0]) if len(row) == 1 else File(*row) for name, row in json.loads(entries).items()}


def _parts(path: str) -> Sequence[str]:
    return path.split("/") if path else ()
