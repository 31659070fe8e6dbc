"""The user's store: every file ever fetched, by the digest of its content.

```
ROOT/files/ab/ab34...      the bytes whose SHA-256 this is
ROOT/seen/DIGEST.json      the index last seen of a collection: see modhub.hub.seen
ROOT/locks/ab              comfort: two installs do not fetch the same file twice
```

What it returns was hashed at that moment, so a damaged entry is never served; it is dropped and fetched again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import FormatError, NotFound, StorageError
from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

FETCH_PATIENCE_S = 600.0
LEFTOVER_AGE_S = 24 * 3600.0


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

    def prune(self, *, older_than_s: float = LEFTOVER_AGE_S) -> int:
        """Delete what killed writers left; return how many things that were.

        Raises:
            StorageError: the store cannot be written.
        """
        return fsops.remove_leftovers(self.root, older_than_s=older_than_s)
