"""The user's store: every file ever fetched, by the digest of its content.

```
ROOT/files/ab/ab34...      the bytes whose SHA-256 this is
ROOT/partial/ab34...       what came of a large one before the connection was cut; the next try goes on from there
ROOT/seen/DIGEST.json      the index last seen of a collection: see modhub.hub.seen
ROOT/locks/ab              comfort: two installs do not fetch the same file twice
```

What it returns was hashed at that moment, so a damaged entry is never served; it is dropped and fetched again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import FormatError, IntegrityError, NotFound, StorageError
from modhub.spec.digests import is_sha256, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

FETCH_PATIENCE_S = 600.0
LEFTOVER_AGE_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of the store: its digest, its bytes, and when it came, in seconds since 1970."""

    digest: str
    size: int
    since: float


class Store:
    """Files by digest below one folder, which need not exist yet. Any number of processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of_user(cls) -> Store:
        """Return the store in the user's cache folder."""
        from platformdirs import user_cache_path

        return cls(user_cache_path("modhub"))

    def has(self, digest: str) -> bool:
        """Tell whether there is an entry for this digest; `get` tells whether it is whole."""
        return self.path(digest).is_file()

    def get(self, digest: str, *, limit: int) -> bytes | None:
        """Return the file with this digest, or None; a damaged entry is dropped.

        `limit` is the announced size in bytes: an entry beyond it is damaged without reading it.

        Raises:
            StorageError: the store cannot be read.
        """
        path = self.path(digest)
        try:
            data = fsops.read_file(path, limit=limit)
        except NotFound:
            return None
        except FormatError:
            data = None
        if data is None or sha256(data) != digest:
            # A store that cannot be written keeps the entry; it is not served all the same.
            with suppress(StorageError):
                fsops.remove(path)
            return None
        return data

    def put(self, data: bytes) -> str:
        """Keep a file and return its digest.

        Raises:
            StorageError: the store cannot be written.
        """
        digest = sha256(data)
        path = self.path(digest)
        fsops.make_folder(path.parent)
        # Replacing is safe, since whoever else writes this name writes the same bytes, and it heals a damaged entry.
        fsops.replace_file(path, data)
        return digest

    def check(self, digest: str, *, size: int) -> bool:
        """Tell whether there is a whole entry for this digest, however large; a damaged one is dropped.

        Raises:
            StorageError: the store cannot be read.
        """
        path = self.path(digest)
        try:
            whole = fsops.digest_of(path, limit=size) == digest
        except NotFound:
            return False
        except FormatError:
            whole = False
        if not whole:
            with suppress(StorageError):
                fsops.remove(path)
        return whole

    def fill(self, digest: str, *, size: int, source: Callable[[int], Iterator[bytes]]) -> None:
        """Keep a file that comes in pieces, once its digest is the one expected.

        Args:
            digest: of the whole file.
            size: bytes of the whole file.
            source: yields its bytes from a position on. What came before it fails is kept for the next try.

        Raises:
            IntegrityError: these are other bytes; none of them are kept.
            StorageError: the store cannot be written.
        """
        partial = self.root / "partial" / digest
        fsops.make_folder(partial.parent)
        found, resumed = self._append(partial, size=size, source=source)
        if found != digest and resumed:
            # What an earlier try left was damaged, or came from a registry that lied.
            fsops.remove(partial)
            found, _ = self._append(partial, size=size, source=source)
        if found != digest:
            fsops.remove(partial)
            raise IntegrityError(f"sha256 {found}, expected {digest}")
        path = self.path(digest)
        fsops.make_folder(path.parent)
        fsops.replace_by(path, partial)

    def _append(self, partial: Path, *, size: int, source: Callable[[int], Iterator[bytes]]) -> tuple[str, bool]:
        """Return the digest of what is there once the rest was added, and whether anything was there before."""
        sums = hashlib.sha256()
        try:
            for chunk in fsops.read_chunks(partial, limit=size):
                sums.update(chunk)
        except NotFound:
            pass
        except FormatError:
            fsops.remove(partial)
            sums = hashlib.sha256()
        start = fsops.file_size(partial)
        with fsops.appending(partial) as file:
            for chunk in source(start) if start < size or not size else ():
                sums.update(chunk)
                file.write(chunk)
        return sums.hexdigest(), start > 0

    def local(self, digest: str, *, size: int) -> fsops.LocalFile:
        """Return an entry as a file to copy; whoever reads it sees damage at its end."""
        return fsops.LocalFile(path=self.path(digest), size=size, sha256=digest)

    def path(self, digest: str) -> Path:
        """Return where a file is kept. Give nobody this path: its reader would not see damage, and could do some."""
        return self.root / "files" / digest[:2] / digest

    def claim(self, digest: str) -> AbstractContextManager[None]:
        """Return a context in which other processes that claim the digest wait, so that only one fetches it."""
        folder = self.root / "locks"
        with suppress(StorageError):
            fsops.make_folder(folder)
        return fsops.locked(folder / digest[:2], patience_s=FETCH_PATIENCE_S)

    def digests(self) -> list[str]:
        """Return the digests of all files, sorted.

        Raises:
            StorageError: the store cannot be read.
        """
        files = self.root / "files"
        with suppress(NotFound):
            return [digest for prefix in fsops.list_folder(files) for digest in fsops.list_folder(files / prefix)]
        return []

    def entries(self) -> Iterator[Entry]:
        """Yield every file, sorted by digest; `check` tells whether it is whole.

        Raises:
            StorageError: the store cannot be read.
        """
        for digest in self.digests():
            with suppress(FileNotFoundError):  # Somebody else prunes.
                found = self.path(digest).lstat()
                if is_sha256(digest):
                    yield Entry(digest=digest, size=found.st_size, since=found.st_mtime)

    def discard(self, digest: str) -> None:
        """Delete an entry; a missing one is fine.

        Raises:
            StorageError: the store cannot be written.
        """
        fsops.remove(self.path(digest))

    def drop_partial(self) -> int:
        """Delete what was downloaded in part; return the bytes of it.

        Raises:
            StorageError: the store cannot be written.
        """
        folder, count = self.root / "partial", 0
        with suppress(NotFound):
            for name in fsops.list_folder(folder):
                count += fsops.file_size(folder / name)
                fsops.remove(folder / name)
        return count

    def prune(self, *, older_than_s: float = LEFTOVER_AGE_S) -> int:
        """Delete what killed writers left; return how many things that were.

        Raises:
            StorageError: the store cannot be written.
        """
        return fsops.remove_leftovers(self.root, older_than_s=older_than_s)
