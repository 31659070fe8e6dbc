"""Contents by their SHA-256. A blob is written once, appears whole or not at all, and never changes.

It is written aside while it is hashed, so memory holds one chunk of it, and takes its name only once its bytes are on
the disk and its digest is the one that was announced.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from modhub import fsops
from modhub_registry.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20
LEFTOVER_AGE_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A content: its digest, its size in bytes and its id as Git counts."""

    sha256: str
    size: int
    oid: str


class Blobs(Protocol):
    """A store of blobs, and of the parts of those that are on their way."""

    def incoming(self, size: int) -> Incoming:
        """Return what takes the bytes of a content of this size."""
        ...

    def keep(self, incoming: Incoming) -> Blob:
        """Give a content its name; afterwards it survives whatever happens.

        Raises:
            Malformed: it has not the size that was announced.
        """
        ...

    def has(self, sha256: str) -> bool:
        """Tell whether a content is there."""
        ...

    def read(self, sha256: str, *, start: int, length: int) -> Iterator[bytes]:
        """Yield a part of a content that is there, in chunks."""
        ...

    @contextmanager
    def as_file(self, sha256: str) -> Iterator[Path]:
        """Yield a file with the content, for as long as the block runs."""
        ...

    def keep_part(self, upload: str, number: int, incoming: Incoming) -> str:
        """Keep a part of an upload, over an earlier one with the same number; return its digest."""
        ...

    def parts(self, upload: str, digests: list[str]) -> Iterator[bytes]:
        """Yield the bytes of all parts of an upload, in chunks.

        Raises:
            Malformed: a part is missing, or is another one.
        """
        ...

    def drop_parts(self, upload: str) -> None:
        """Forget the parts of an upload."""
        ...

    def clean(self, *, older_than_s: float = LEFTOVER_AGE_S) -> int:
        """Forget what uploads left that never ended; return how many things that were."""
        ...


class Incoming:
    """A content on its way in: a temporary file that is hashed while it is written.

    Args:
        folder: where the temporary file is.
        size: how many bytes are to come.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.path = folder / f"{fsops.TEMPORARY}{secrets.token_hex(16)}"
        self.announced, self.size = size, 0
        self._file = self.path.open("xb")
        self._sha256 = hashlib.sha256()
        self._oid = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def write(self, data: bytes) -> None:
        """Take some bytes.

        Raises:
            Malformed: they are more than were announced.
        """
        self.size += len(data)
        if self.size > self.announced:
            raise Malformed(f"the body has more than the {self.announced} bytes that were announced")
        self._file.write(data)
        self._sha256.update(data)
        self._oid.update(data)

    def digest(self) -> str:
        """Return the SHA-256 of what was written so far."""
        return self._sha256.hexdigest()

    def finish(self) -> Blob:
        """Wait until the bytes are on the disk, and say what they are.

        Raises:
            Malformed: they are fewer than were announced.
        """
        if self.size != self.announced:
            raise Malformed(f"the body has {self.size} bytes, {self.announced} were announced")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Blob(sha256=self._sha256.hexdigest(), size=self.size, oid=self._oid.hexdigest())

    def discard(self) -> None:
        """Delete the temporary file; where it has taken its name, nothing happens."""
        self._file.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


class FolderBlobs:
    """Blobs as files of a folder: ``ab/abcdef...``, and ``incoming/`` for what is on its way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        fsops.make_folder(self._incoming)

    def incoming(self, size: int) -> Incoming:
        """Return what takes the bytes of a content of this size."""
        return Incoming(self._incoming, size)

    def keep(self, incoming: Incoming) -> Blob:
        """Give a content its name, which only the first one with this digest needs to do."""
        blob = incoming.finish()
        target = self._path(blob.sha256)
        if not target.is_file():
            fsops.make_folder(target.parent)
            with suppress(FileExistsError):
                target.hardlink_to(incoming.path)
        # Also where somebody else made the name: that one may be killed before it is on the disk.
        sync_folder(target.parent)
        incoming.discard()
        return blob

    def has(self, sha256: str) -> bool:
        """Tell whether a content is there."""
        return self._path(sha256).is_file()

    def read(self, sha256: str, *, start: int, length: int) -> Iterator[bytes]:
        """Yield a part of a content, in chunks."""
        with self._path(sha256).open("rb") as file:
            file.seek(start)
            while length > 0 and (chunk := file.read(min(CHUNK_BYTES, length))):
                length -= len(chunk)
                yield chunk

    @contextmanager
    def as_file(self, sha256: str) -> Iterator[Path]:
        """Yield the very file."""
        yield self._path(sha256)

    def keep_part(self, upload: str, number: int, incoming: Incoming) -> str:
        """Keep a part of an upload; return its digest."""
        blob = incoming.finish()
        folder = self._upload(upload)
        fsops.make_folder(folder)
        incoming.path.replace(folder / part_name(number, blob.sha256))
        return blob.sha256

    def parts(self, upload: str, digests: list[str]) -> Iterator[bytes]:
        """Yield the bytes of all parts of an upload, in chunks."""
        paths = [self._upload(upload) / part_name(number, digest) for number, digest in enumerate(digests, 1)]
        for number, path in enumerate(paths, 1):
            if not path.is_file():
                raise Malformed(f"part {number} of the upload is missing, or is not the one that was sent")
        for path in paths:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

    def drop_parts(self, upload: str) -> None:
        """Forget the parts of an upload."""
        fsops.remove(self._upload(upload))

    def clean(self, *, older_than_s: float = LEFTOVER_AGE_S) -> int:
        """Delete temporary files and parts that nobody has touched for a while."""
        return fsops.remove_leftovers(self._incoming, older_than_s=older_than_s)

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def _upload(self, upload: str) -> Path:
        return self._incoming / f"{fsops.TEMPORARY}upload-{upload}"


def part_name(number: int, digest: str) -> str:
    """Return what a part is called: a digest that differs makes another part of it."""
    return f"{number:05d}-{digest}"


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
