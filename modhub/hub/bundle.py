"""Collections as one file, to carry where no network reaches.

```
bundle.json                       what is inside, and where it came from
OWNER/COLLECTION/modhub.json      then as on every registry
```

The file is a ZIP archive whose entries are stored as they are, uncompressed. It is read as a registry: nothing is ever
unpacked by the names in it, sizes are those the index promises, and every byte is hashed on its way.
"""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import AccessDenied, FormatError, HubError, IntegrityError, NotFound
from modhub.hub.backend import CARD_FILE, INDEX_FILE
from modhub.hub.mirror import card_bytes, index_bytes, release_contents
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.document import JSON, Fields, check_format, format_json, list_of, parse_json, text
from modhub.spec.names import CollectionId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from modhub.fsops import Content
    from modhub.hub.client import Client
    from modhub.hub.transfer import Progress

FORMAT = "modhub/bundle@1"
BUNDLE_FILE = "bundle.json"
BUNDLE_BYTES = 1 << 20
ENTRIES = 1 << 20
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that equal contents give equal files."""

ENCRYPTED = 0x1


class BundleBackend:
    """The collections in a bundle, to read.

    Raises:
        NotFound: there is no such file.
        FormatError: it is no bundle, or one that was tampered with.
        StorageError: it cannot be read.
    """

    remote = False
    append_only = False

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.name = self.path.as_uri()
        with self._opened() as archive:
            self._entries = _checked_entries(archive, self.path)
            head = self._read(archive, BUNDLE_FILE, limit=BUNDLE_BYTES)
        with _named(self.path):
            self._collections = _collections(head)

    @property
    def place(self) -> str:
        """Its name."""
        return self.name

    def head(self, collection: CollectionId) -> str | None:
        """Return the digest of the index, or None where the bundle has none."""
        try:
            return sha256(self._file(collection, INDEX_FILE, limit=limits.INDEX_BYTES))
        except NotFound:
            return None

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file.

        Raises:
            NotFound: there is none.
            IntegrityError: it is larger than `limit`.
        """
        if revision is not None and revision != self.head(collection):
            raise NotFound(f"{self.name} has no collection {collection} at revision {revision}")
        return self._file(collection, path, limit=limit)

    def stream(
        self, collection: CollectionId, path: str, *, revision: str | None, limit: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file from a position on; see `read`."""
        if revision is not None and revision != self.head(collection):
            raise NotFound(f"{self.name} has no collection {collection} at revision {revision}")
        with self._opened() as archive:
            yield from self._pieces(archive, f"{collection}/{path}", limit=limit, start=start)

    def collections(self, *, tags: Iterable[str] = ()) -> Iterable[CollectionId]:  # noqa: ARG002  All may have them.
        """Return the collections that the bundle says it holds."""
        return self._collections

    def commit(
        self,
        collection: CollectionId,
        changes: Mapping[str, Content],
        *,
        parent: str | None,
        message: str,
    ) -> str:
        """Refuse: a bundle is made whole.

        Raises:
            AccessDenied: always.
        """
        del changes, parent, message
        raise AccessDenied(f"{self.name} is a bundle, which cannot be changed: {collection} goes into a registry")

    def _file(self, collection: CollectionId, path: str, *, limit: int) -> bytes:
        with self._opened() as archive:
            return self._read(archive, f"{collection}/{path}", limit=limit)

    def _read(self, archive: zipfile.ZipFile, name: str, *, limit: int) -> bytes:
        return b"".join(self._pieces(archive, name, limit=limit))

    def _pieces(self, archive: zipfile.ZipFile, name: str, *, limit: int, start: int = 0) -> Iterator[bytes]:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"{self.path} holds no {name}")
        if not start <= entry.file_size <= limit:
            expected = f"{entry.file_size:,} bytes, expected {start:,} to {limit:,}"
            raise IntegrityError(f"{name} in {self.path} holds {expected}")
        with archive.open(entry) as file:
            file.seek(start)
            while chunk := file.read(fsops.CHUNK_BYTES):
                yield chunk

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        """Open the archive; what is wrong with it is told with its name."""
        if not self.path.exists():
            raise NotFound(f"there is no bundle {self.path}")
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise FormatError(f"is no bundle, or a damaged one: {error}", file=str(self.path)) from error
        except OSError as error:
            raise HubError(f"cannot read {self.path}: {error}") from error


def write_bundle(
    client: Client,
    collections: Sequence[CollectionId],
    path: Path,
    *,
    registry: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Write collections of a registry as one file, whole or not at all; return its bytes.

    Raises:
        NotFound: the registry has no such collection.
        IntegrityError: a file is not the one that the index promises.
        HubError: the registry cannot be read, or the file cannot be written.
    """
    source = client.backend(registry).name
    found = [client.snapshot(collection, registry=source) for collection in collections]
    listed: list[JSON] = [
        {"name": str(each.collection), "registry": each.registry, "revision": each.revision} for each in found
    ]
    with fsops.replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, BUNDLE_FILE, format_json({"format": FORMAT, "collections": listed}))
        for now in found:
            files: dict[str, Content] = {
                INDEX_FILE: index_bytes(client, now, source=source),
                CARD_FILE: card_bytes(client, now, source=source),
                **release_contents(client, now, now.index.releases, progress=progress),
            }
            for place, content in files.items():
                _add(archive, f"{now.collection}/{place}", content)
    return fsops.file_size(path)


def _add(archive: zipfile.ZipFile, name: str, content: Content) -> None:
    entry = zipfile.ZipInfo(name, LONG_AGO)
    entry.file_size = len(content)
    with archive.open(entry, "w", force_zip64=len(content) > zipfile.ZIP64_LIMIT // 2) as file:
        for chunk in fsops.chunks_of(content):
            file.write(chunk)


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name.

    Raises:
        FormatError: there are too many, one is compressed, encrypted, hidden or there twice, or they overlap.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & ENCRYPTED
        if len(entries) >= ENTRIES or entry.filename in entries or not plain or entry.file_size != entry.compress_size:
            problem = f"expected stored entries, each once, at most {ENTRIES:,}"
            raise FormatError(problem, where=entry.filename[: limits.FILE_NAME_LENGTH], file=str(path))
        with _named(path):
            fsops.relative_path(entry.filename)
        entries[entry.filename] = entry
    if sum(entry.file_size for entry in entries.values()) > fsops.file_size(path):
        raise FormatError("its entries overlap", file=str(path))
    return entries


def _collections(head: bytes) -> tuple[CollectionId, ...]:
    """Return the collections that a bundle lists."""
    fields = Fields(parse_json(head, limit=BUNDLE_BYTES))
    check_format(fields.required("format", text), expected=FORMAT)
    return tuple(fields.required("collections", list_of(_collection)))


def _collection(document: object) -> CollectionId:
    return CollectionId.parse(Fields(document).required("name", text))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file breaks its format."""
    try:
        yield
    except FormatError as error:
        raise (error if error.file else error.in_file(str(path))) from error
