"""Registries whose owner signs what their indexes are, by The Update Framework (TUF).

    backend = SignedBackend(backend, Trust(root=Path("acme-root.json"), location="https://modules.example.org/tuf"))

The signed metadata names every collection with the digest of its index. Who trusts the owner's root file then notices a
registry, a mirror or a network that shows an older index (rollback), goes on showing one (freeze), or shows parts that
never belonged together (mix-and-match). A key that was stolen is replaced by the next root file, which the one before
it has signed.

`modhub.hub.index_signer` is the owner's side. All rules are those of python-tuf; here is only where its bytes come from
and where it remembers what it saw.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from modhub import fsops
from modhub.errors import FormatError, HubError, IntegrityError, MissingExtra, NotFound, StorageError
from modhub.hub.backend import INDEX_FILE
from modhub.hub.hub_reader import stream_file
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.names import CollectionId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tuf.ngclient import FetcherInterface

    from modhub.fsops import Content
    from modhub.hub.backend import Backend

ROOT_BYTES = 512_000
METADATA_BYTES = 8 << 20
"""Metadata of one role: 37,000 collections take 5 MB, which is where python-tuf stops."""

LOCK_PATIENCE_S = 30.0
REVISION_KEY = "revision"
REMOTE = ("http://", "https://")


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom to believe about the indexes of a registry.

    Args:
        root: file with the owner's root metadata, had by another way than from the registry.
        location: where the signed metadata is: a folder or an address.
    """

    root: Path
    location: str


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What the metadata says of the index of a collection."""

    size: int
    sha256: str
    revision: str

    def is_of(self, data: bytes) -> bool:
        """Tell whether bytes are the index that was signed."""
        return len(data) == self.size and sha256(data) == self.sha256


class SignedBackend:
    """A registry that shows the indexes that its owner signed, and no others.

    What was published since then is not shown. The metadata is read once, when it is first needed.

    Args:
        backend: the registry itself.
        trust: whom to believe.
        folder: where what was seen is remembered; made where there is none.
    """

    def __init__(self, backend: Backend, trust: Trust, *, folder: Path) -> None:
        self._backend, self._trust = backend, trust
        self._folder = folder / sha256(f"{backend.place} {trust.location} {trust.root}".encode())
        self._signed: Mapping[CollectionId, Signed] | None = None
        self._read: dict[tuple[CollectionId, str], bytes] = {}

    @property
    def name(self) -> str:
        """How locks call the registry."""
        return self._backend.name

    @property
    def place(self) -> str:
        """Another one than without signatures: there newer indexes may have been seen."""
        return f"{self._backend.place} signed"

    @property
    def remote(self) -> bool:
        """Whether reading takes a network."""
        return self._backend.remote or self._trust.location.startswith(REMOTE)

    @property
    def append_only(self) -> bool:
        """See `Backend.append_only`."""
        return self._backend.append_only

    def head(self, collection: CollectionId) -> str | None:
        """Return the revision whose index was signed: the newest one, where that is the one.

        Raises:
            IntegrityError: the metadata is not what its owner signed, or the collection is gone.
            HubError: the registry or the metadata cannot be read.
            MissingExtra: tuf is not installed.
        """
        signed = self._all().get(collection)
        if signed is None:
            return None
        now = self._backend.head(collection)
        if now is None:
            raise IntegrityError(f"{self.name} has no collection {collection}, which its signed index lists")
        data = self._backend.read(collection, INDEX_FILE, revision=now, limit=limits.INDEX_BYTES)
        if not signed.is_of(data):
            return signed.revision
        self._read[collection, now] = data
        return now

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file; an index only if it is the one that was signed.

        Raises:
            IntegrityError: it is not.
            NotFound: there is no such file.
            HubError: the registry or the metadata cannot be read.
        """
        if path != INDEX_FILE:
            return self._backend.read(collection, path, revision=revision, limit=limit)
        revision = revision or self.head(collection)
        signed = self._all().get(collection)
        if signed is None or revision is None:
            raise NotFound(f"the signed index of {self.name} lists no collection {collection}")
        try:
            data = self._read.pop((collection, revision), None) or self._backend.read(
                collection, path, revision=revision, limit=limit
            )
        except NotFound as error:
            raise self._unsigned(collection) from error
        if not signed.is_of(data):
            raise self._unsigned(collection)
        return data

    def stream(
        self, collection: CollectionId, path: str, *, revision: str | None, limit: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file in pieces; see `read`."""
        if path == INDEX_FILE:
            yield self.read(collection, path, revision=revision, limit=limit)[start:]
            return
        yield from self._backend.stream(collection, path, revision=revision, limit=limit, start=start)

    def collections(self, *, tags: Iterable[str] = ()) -> Iterable[CollectionId]:  # noqa: ARG002  All may have them.
        """Return the collections that the metadata lists; raises as `head`."""
        return tuple(self._all())

    def commit(
        self, collection: CollectionId, changes: Mapping[str, Content], *, parent: str | None, message: str
    ) -> str:
        """Write into the registry itself; nobody who asks for signatures sees that before it is signed."""
        return self._backend.commit(collection, changes, parent=parent, message=message)

    def _all(self) -> Mapping[CollectionId, Signed]:
        if self._signed is None:
            self._signed = read_signed(self._trust, self._folder, registry=self.name)
        return self._signed

    def _unsigned(self, collection: CollectionId) -> IntegrityError:
        return IntegrityError(f"the index of {collection} in {self.name} is not the one that was signed")


def read_signed(trust: Trust, folder: Path, *, registry: str) -> dict[CollectionId, Signed]:
    """Return the indexes that the owner of a registry has signed, after the whole check of TUF.

    Args:
        trust: whom to believe, and where the metadata is.
        folder: where what was seen is remembered.
        registry: how errors call the registry.

    Raises:
        IntegrityError: the metadata is not what its owner signed, has expired, or is older than what was seen.
        HubError: it cannot be read.
        MissingExtra: tuf is not installed.
    """
    try:
        from tuf.api.metadata import Metadata, Targets
        from tuf.ngclient import Updater
    except ImportError as error:
        raise MissingExtra("tuf", extra="sign", purpose="checking a signed index") from error
    root = fsops.read_file(trust.root, limit=ROOT_BYTES)
    base = trust.location if trust.location.startswith(REMOTE) else Path(trust.location).expanduser().resolve().as_uri()
    fsops.make_folder(folder)
    # Two refreshes at once trip over one another's links: python-tuf leaves that to its callers.
    with fsops.locked(folder / "lock", patience_s=LOCK_PATIENCE_S), _translated(registry):
        Updater(str(folder), base, fetcher=_fetcher(registry), bootstrap=root).refresh()
        # The updater wrote this file after it had checked it, and holds no list that others may read.
        seen = fsops.read_file(folder / "targets.json", limit=METADATA_BYTES)
        targets = Metadata[Targets].from_bytes(seen).signed.targets
        return {collection_of(path): _signed(target) for path, target in targets.items()}


def path_of(collection: CollectionId) -> str:
    """Return what the metadata calls the index of a collection."""
    return f"{collection}/{INDEX_FILE}"


def collection_of(path: str) -> CollectionId:
    """Return the collection whose index the metadata calls so; the other way round than `path_of`.

    Raises:
        InvalidName: it is no such path.
    """
    return CollectionId.parse(path.removesuffix(f"/{INDEX_FILE}"))


def _signed(target: Any) -> Signed:
    custom = target.custom or {}
    return Signed(size=target.length, sha256=target.hashes.get("sha256", ""), revision=str(custom.get(REVISION_KEY)))


def _fetcher(registry: str) -> FetcherInterface:
    """Return what python-tuf reads folders and addresses by: our own ways, and not another HTTP client."""
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import FetcherInterface

    class Fetcher(FetcherInterface):  # type: ignore[misc, unused-ignore]  # Where tuf is not installed.
        def _fetch(self, url: str) -> Iterator[bytes]:
            parts, what = urlsplit(url), unquote(url.rpartition("/")[2])
            try:
                if parts.scheme == "file":
                    return iter([fsops.read_file(Path(url2pathname(parts.path)), limit=METADATA_BYTES)])
                pieces = stream_file(url, {}, what=what, registry=registry, limit=METADATA_BYTES)
                return iter([b"".join(pieces)])
            except NotFound as error:
                raise DownloadHTTPError(f"{what} is not there", 404) from error

    return Fetcher()


@contextmanager
def _translated(registry: str) -> Iterator[None]:
    """Turn what python-tuf raises into our errors, each with the name of what is wrong."""
    from tuf.api import exceptions

    what = f"the signed index of {registry}"
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        problem = "its owner did not renew it, somebody goes on showing an old one, or the clock here is wrong"
        raise IntegrityError(f"{what} has expired: {problem}; it says {now}") from error
    except exceptions.BadVersionNumberError as error:
        raise IntegrityError(f"{what} is older than the one seen before: {error}") from error
    except exceptions.DownloadLengthMismatchError as error:
        raise IntegrityError(f"{what} is larger than it may be: {error}") from error
    except exceptions.LengthOrHashMismatchError as error:
        raise IntegrityError(f"{what} holds parts that do not belong together: {error}") from error
    except exceptions.UnsignedMetadataError as error:
        raise IntegrityError(f"{what} is not signed with the keys that its owner's root file names: {error}") from error
    except (exceptions.RepositoryError, FormatError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{what} is not valid: {str(error) or type(error).__name__}") from error
    except exceptions.DownloadError as error:
        cause = error.__cause__
        if isinstance(cause, (IntegrityError, FormatError)):
            raise IntegrityError(f"{what} is not valid: {cause}") from error
        raise HubError(f"{what} cannot be read: {cause or error}") from error
    except OSError as error:
        raise StorageError(f"what was seen of {what} cannot be kept: {error}") from error
