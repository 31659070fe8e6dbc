"""A registry that is a folder, readable as plain files.

```
ROOT/OWNER/COLLECTION/
    modhub.json  README.md  NAME/VERSION/...      what people and other tools read
    .modhub/index/00000007.json                   every index, numbered: the newest is the truth
    .modhub/staged/00000008-DIGEST/NAME/VERSION/  releases of a commit that is not settled yet
```

A commit takes three steps, and its author may be killed at any time:

1. *Stage*: write all new releases as one folder, named by the number and the digest of the index they come with.
2. *Commit*: `link` that index as the next number. The name must be new, so of all who build on one parent only
   one succeeds, also where locks lie.
3. *Settle*: rename the releases to their plain names, then rewrite `README.md` and `modhub.json`.

What is staged is invisible until its index has its number; from then on it is found where it is, so nobody ever sees
half a release. Settling is renaming what the index already names: whoever commits next does it again. A staged folder
whose number went to another index lost, and is deleted. Nothing under a plain name is ever replaced but the two texts.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import CommitConflict, FormatError, IntegrityError, InvalidName, NotFound, StorageError, UsageError
from modhub.hub.backend import INDEX_FILE
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.document import Fields, natural, parse_json
from modhub.spec.names import CollectionId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from modhub.fsops import Content

INDEXES_KEPT = 100
"""Older indexes are emptied; their names stay, so that their numbers are never given twice."""

LOCK_PATIENCE_S = 5.0
LEFTOVER_AGE_S = 24 * 3600.0

NUMBERED = re.compile(r"([0-9]{8,18})\.json")
STAGED = re.compile(r"([0-9]{8,18})-([0-9a-f]{64})")


class DirectoryBackend:
    """The collections below one folder, which need not exist before the first commit.

    Args:
        name: how locks call it, where that is not the folder's own address.
        append_only: see `Backend.append_only`.
    """

    remote = False

    def __init__(self, root: Path, *, name: str | None = None, append_only: bool = True) -> None:
        self.root = root.resolve()
        self.name = name or self.root.as_uri()
        self.append_only = append_only

    @property
    def place(self) -> str:
        """Its name."""
        return self.name

    def head(self, collection: CollectionId) -> str | None:
        """Return the number and digest of the newest index.

        Raises:
            FormatError: a folder that was copied by hand has no valid index.
            StorageError: it cannot be read.
        """
        return self._folder(collection).head()

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file; only the index is kept in earlier revisions.

        Raises:
            NotFound: there is no such file.
            IntegrityError: it is larger than `limit`, or no regular file.
            StorageError: it cannot be read.
        """
        folder = self._folder(collection)
        try:
            if path == INDEX_FILE:
                return folder.read_index(revision, limit=limit)
            return folder.read_file(str(fsops.relative_path(path)), limit=limit)
        except FormatError as error:
            raise IntegrityError(str(error)) from error

    def stream(
        self, collection: CollectionId, path: str, *, revision: str | None, limit: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file in pieces; see `read`."""
        if path == INDEX_FILE:
            yield self.read(collection, path, revision=revision, limit=limit)[start:]
            return
        folder = self._folder(collection)
        try:
            yield from folder.stream_file(str(fsops.relative_path(path)), limit=limit, start=start)
        except FormatError as error:
            raise IntegrityError(str(error)) from error

    def collections(self, *, tags: Iterable[str] = ()) -> Iterator[CollectionId]:  # noqa: ARG002  All may have them.
        """Yield the collections in the order of their names.

        Raises:
            NotFound: the root folder does not exist.
            StorageError: it cannot be read.
        """
        for owner in fsops.list_folder(self.root):
            for name in _list_subfolder(self.root / owner):
                try:
                    collection = CollectionId(owner, name)
                except InvalidName:
                    continue
                if self._folder(collection).exists():
                    yield collection

    def commit(
        self,
        collection: CollectionId,
        changes: Mapping[str, Content],
        *,
        parent: str | None,
        message: str,  # noqa: ARG002  There is nowhere to show it.
    ) -> str:
        """Stage, commit and settle.

        Raises:
            UsageError: the changes hold no index, or a path that is neither a text of the collection nor a release.
            CommitConflict: the collection is no longer at `parent`.
            IntegrityError: a local file was changed meanwhile.
            StorageError: the disk refuses, or a foreign folder has the name of a release.
        """
        releases, texts = _split(changes)
        folder = self._folder(collection)
        if parent is None:
            self._refuse_twin(collection)
        fsops.make_folder(folder.hidden)
        with fsops.locked(folder.hidden / "lock", patience_s=LOCK_PATIENCE_S):
            folder.settle(texts={})
            revision = folder.commit(releases, texts.pop(INDEX_FILE), parent=parent)
            folder.settle(texts=texts)
        return revision

    def prune(self, *, older_than_s: float = LEFTOVER_AGE_S) -> int:
        """Delete what killed publishers left; return how many things that were.

        Raises:
            StorageError: the disk refuses.
        """
        return fsops.remove_leftovers(self.root, older_than_s=older_than_s)

    def _folder(self, collection: CollectionId) -> CollectionFolder:
        return CollectionFolder(self.root / collection.owner / collection.name)

    def _refuse_twin(self, collection: CollectionId) -> None:
        """Refuse a new collection whose name differs from an old one only in case or separators."""
        with suppress(NotFound):
            for other in self.collections():
                if other.key == collection.key and other != collection:
                    raise InvalidName(f"{self.name} has {other}, which {collection} would be mistaken for")


class CollectionFolder:
    """The folder of one collection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hidden = path / ".modhub"
        self.indexes = self.hidden / "index"
        self.staged = self.hidden / "staged"

    def exists(self) -> bool:
        """Tell whether anything was committed or copied here."""
        return self._newest() > 0 or (self.path / INDEX_FILE).is_file()

    def head(self) -> str | None:
        """Return the current revision, or None where there is no index."""
        try:
            number, data = self._current()
        except NotFound:
            return None
        return _revision(number, data)

    def read_index(self, revision: str | None, *, limit: int) -> bytes:
        """Return the index, of one revision or the current one.

        Raises:
            NotFound: there is none, or no longer.
            FormatError: it is too large, or no file.
        """
        number, data = self._current(limit=limit)
        if revision is None or revision == _revision(number, data):
            return data
        older = revision.partition("-")[0]
        data = fsops.read_file(self._numbered(int(older)), limit=limit) if older.isdecimal() else b""
        if data and revision == _revision(int(older), data):
            return data
        raise NotFound(f"{self.path} keeps no index of revision {revision}")

    def read_file(self, path: str, *, limit: int) -> bytes:
        """Return a file of a release, settled or not.

        Raises:
            NotFound: there is none.
            FormatError: it is too large, or no file.
        """
        for place in self._places(path):
            with suppress(NotFound):
                return fsops.read_file(place, limit=limit)
        raise NotFound(f"{self.path / path}: no such file or folder")

    def stream_file(self, path: str, *, limit: int, start: int) -> Iterator[bytes]:
        """Yield a file of a release, settled or not, from a position on; see `read_file`."""
        for place in self._places(path):
            with suppress(NotFound):
                yield from fsops.read_chunks(place, limit=limit, start=start)
                return
        raise NotFound(f"{self.path / path}: no such file or folder")

    def commit(self, releases: Mapping[str, Content], index: bytes, *, parent: str | None) -> str:
        """Stage the releases and link the index; return its revision.

        Raises:
            CommitConflict: somebody else was first.
            StorageError: the disk refuses, or a foreign folder is in the way.
        """
        self._check_parent(parent)
        number = 1 if parent is None else int(parent.partition("-")[0]) + 1
        self._refuse_foreign(releases, number=number)
        revision = _revision(number, index)
        staged = self.staged / _staged_name(number, index)
        if releases and not staged.is_dir():
            _stage(staged, releases)
        fsops.make_folder(self.indexes)
        if not fsops.write_if_absent(self._numbered(number), index):
            raise self._conflict(parent)
        return revision

    def settle(self, *, texts: Mapping[str, bytes]) -> None:
        """Bring the plain files up to the newest index; give up quietly where the disk refuses.

        The commit stands by then and readers find everything. The plain files stay at the state before, whole as it
        was, until the next commit settles them.
        """
        try:
            for staged in self._unsettled():
                _unpack(staged, self.path)
            self._drop_losers()
            self._rewrite(texts)
        except (StorageError, NotFound):
            return

    def _places(self, path: str) -> Iterator[Path]:
        """Yield where a file may be; the plain name again at last, as it may have been settled meanwhile."""
        yield self.path / path
        for staged in self._unsettled():
            yield staged / path
        yield self.path / path

    def _rewrite(self, texts: Mapping[str, bytes]) -> None:
        """Write the texts, and the newest index as a plain file, last and until it is the newest."""
        for name, data in texts.items():
            fsops.replace_file(self.path / name, data)
        number = 0
        while number != (newest := self._newest()):
            number = newest
            data = fsops.read_file(self._numbered(number), limit=limits.INDEX_BYTES)
            if not _holds(self.path / INDEX_FILE, data):
                fsops.replace_file(self.path / INDEX_FILE, data)
                self._empty_index(number - INDEXES_KEPT)

    def _empty_index(self, number: int) -> None:
        # Where the disk refused to settle, the index still tells what the staged folder is.
        waiting = {staged for staged, _ in self._all_staged()}
        if number > 0 and number not in waiting and self._numbered(number).is_file():
            fsops.replace_file(self._numbered(number), b"")

    def _check_parent(self, parent: str | None) -> None:
        if self.head() != parent:
            raise self._conflict(parent)

    def _refuse_foreign(self, releases: Mapping[str, Content], *, number: int) -> None:
        """Refuse to publish a release whose plain folder is there although no index names it."""
        for release in sorted({path.rpartition("/")[0] for path in releases}):
            if (self.path / release).exists():
                # A faster publisher's release appears only after its index.
                if self._newest() >= number:
                    raise self._conflict(None)
                raise StorageError(f"{self.path / release} is in the way: it is there, but no index names it")

    def _conflict(self, parent: str | None) -> CommitConflict:
        expected = f"revision {parent}" if parent else "its beginning"
        return CommitConflict(f"{self.path} is no longer at {expected}: somebody else has published")

    def _current(self, *, limit: int = limits.INDEX_BYTES) -> tuple[int, bytes]:
        """Return number and bytes of the newest index; of the plain one in a folder that was copied by hand."""
        if number := self._newest():
            return number, fsops.read_file(self._numbered(number), limit=limit)
        path = self.path / INDEX_FILE
        data = fsops.read_file(path, limit=limit)
        try:
            return Fields(parse_json(data, limit=limit)).required("revision", natural), data
        except FormatError as error:
            raise error.in_file(str(path)) from error

    def _newest(self) -> int:
        matches = (NUMBERED.fullmatch(name) for name in _list_subfolder(self.indexes))
        return max((int(match[1]) for match in matches if match), default=0)

    def _numbered(self, number: int) -> Path:
        return self.indexes / f"{number:08d}.json"

    def _unsettled(self) -> list[Path]:
        """Return the staged folders whose index was committed."""
        return [path for number, path in self._all_staged() if self._won(number, path)]

    def _drop_losers(self) -> None:
        for number, path in self._all_staged():
            if number <= self._newest() and not self._won(number, path):
                fsops.remove(path)

    def _won(self, number: int, staged: Path) -> bool:
        try:
            data = fsops.read_file(self._numbered(number), limit=limits.INDEX_BYTES)
        except NotFound:
            return False
        return staged.name == _staged_name(number, data)

    def _all_staged(self) -> Iterator[tuple[int, Path]]:
        for name in _list_subfolder(self.staged):
            if match := STAGED.fullmatch(name):
                yield int(match[1]), self.staged / name


def _split(changes: Mapping[str, Content]) -> tuple[dict[str, Content], dict[str, bytes]]:
    """Return the files of releases and the texts at the top, the index among them."""
    texts = {path: b"".join(fsops.chunks_of(data)) for path, data in changes.items() if "/" not in path}
    releases = {path: data for path, data in changes.items() if "/" in path}
    strange = [path for path in releases if path.count("/") != 2]
    if strange or INDEX_FILE not in texts:
        problem = f"{strange[0]!r} is not NAME/VERSION/FILE" if strange else f"{INDEX_FILE} is missing"
        raise UsageError(f"a commit holds the index, texts beside it and releases: {problem}")
    for text in texts:
        fsops.relative_path(text)
    return releases, texts


def _stage(staged: Path, releases: Mapping[str, Content]) -> None:
    try:
        fsops.write_folder(staged, releases)
    except StorageError:
        # The name is the digest of what it holds: who else made it, made the same.
        if not staged.is_dir():
            raise


def _unpack(staged: Path, target: Path) -> None:
    """Rename the releases in a staged folder to their plain names, and delete it when it is empty."""
    for name in _list_subfolder(staged):
        for version in _list_subfolder(staged / name):
            fsops.move_folder(staged / name / version, target / name / version)
        fsops.remove_empty_folder(staged / name)
    fsops.remove_empty_folder(staged)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return fsops.read_file(path, limit=limits.INDEX_BYTES) == data
    except (NotFound, FormatError):
        return False


def _list_subfolder(path: Path) -> tuple[str, ...]:
    """Return the names in a folder; none where it is absent or a file."""
    try:
        return fsops.list_folder(path)
    except NotFound:
        return ()


def _revision(number: int, data: bytes) -> str:
    return f"{number}-{sha256(data)}"


def _staged_name(number: int, index: bytes) -> str:
    return f"{number:08d}-{sha256(index)}"
