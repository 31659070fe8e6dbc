"""Getting the files of locked releases: from the store, or from their registry; hashed before anybody sees them.

Small files are read in one go. Large ones are streamed into the store, several at once, and stay there until somebody
needs what is in them; a download that was cut goes on where it stopped.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from modhub import fsops
from modhub.errors import FormatError, IntegrityError, NotFound
from modhub.fsops import LARGE_BYTES
from modhub.hub.transfer import Meter
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.index import MANIFEST_FILE
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modhub.fsops import Content
    from modhub.hub.backend import Backend
    from modhub.hub.store import Store
    from modhub.spec.lock import LockedModule

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file that a lock promises; the size of a manifest is not in the lock, only its limit."""

    module: LockedModule
    path: str
    sha256: str
    size: int | None = None

    @property
    def limit(self) -> int:
        """The most bytes that are read."""
        return limits.MANIFEST_BYTES if self.size is None else self.size

    @property
    def place(self) -> str:
        """Its path in the collection."""
        return f"{self.module.package.name}/{self.module.version}/{self.path}"

    def __str__(self) -> str:
        """Return file, release and registry, for messages."""
        return f"{self.path} of {self.module.name} {self.module.version} in {self.module.registry}"


Connect: TypeAlias = "Callable[[LockedModule], Backend | None]"
"""Returns a release's registry, or None when offline; called only for files that the store lacks."""


@dataclass(frozen=True)
class Downloader:
    """Brings files into a store.

    Args:
        store: where they are kept.
        connect: finds their registries.
        meter: told of every piece that comes.
    """

    store: Store
    connect: Connect
    meter: Meter = field(default_factory=Meter)

    def fetch(self, modules: Sequence[LockedModule]) -> list[dict[str, Content]]:
        """Return the files of locked releases by name, `module.json` among them, in their order.

        Raises:
            IntegrityError: a file is not the one promised, or a manifest is another package's.
            NotFound: a file is gone, or is not in the store and this is offline.
            HubError: a registry cannot be read, or the store cannot be written.
        """
        manifests = self._each(modules, self._manifest)
        wanted = {file.sha256: file for module in modules for file in wanted_files(module)}
        found = dict(zip(wanted, self._each(list(wanted.values()), self._file), strict=True))
        return [
            {MANIFEST_FILE: manifest, **{file.path: found[file.sha256] for file in wanted_files(module)}}
            for module, manifest in zip(modules, manifests, strict=True)
        ]

    def keep(self, files: Sequence[Wanted]) -> None:
        """Bring files into the store without holding them; raises as `fetch`."""
        self._each(list({file.sha256: file for file in files}.values()), self.ensure)

    def ensure(self, wanted: Wanted) -> None:
        """Bring one file into the store; of several processes that want it at once, one downloads it.

        Raises:
            IntegrityError: the file is not the one promised, or its stored copy is damaged and this is offline.
            NotFound: the file is gone, or is not in the store and this is offline.
            HubError: the registry cannot be read, or the store cannot be written.
        """
        if wanted.size is None or wanted.size < LARGE_BYTES:
            self._small(wanted)
            return
        was_stored = self.store.has(wanted.sha256)
        if self.store.check(wanted.sha256, size=wanted.size):
            return
        backend = self._backend(wanted, was_stored=was_stored)
        with self.store.claim(wanted.sha256):
            if not self.store.check(wanted.sha256, size=wanted.size):
                self._stream(wanted, backend)

    def _manifest(self, module: LockedModule) -> bytes:
        """Return a release's manifest, before any large file: what contradicts it is found here."""
        manifest = self._small(Wanted(module=module, path=MANIFEST_FILE, sha256=module.manifest_sha256))
        check_identity(module, manifest)
        return manifest

    def _file(self, wanted: Wanted) -> Content:
        """Return one file, a large one as what lies in the store."""
        if wanted.size is None or wanted.size < LARGE_BYTES:
            return self._small(wanted)
        self.ensure(wanted)
        _check_size(wanted, fsops.file_size(self.store.path(wanted.sha256)))
        return self.store.local(wanted.sha256, size=wanted.size)

    def _small(self, wanted: Wanted) -> bytes:
        """Return one file in memory."""
        was_stored = self.store.has(wanted.sha256)
        data = self.store.get(wanted.sha256, limit=wanted.limit)
        if data is None:
            backend = self._backend(wanted, was_stored=was_stored)
            with self.store.claim(wanted.sha256):
                data = self.store.get(wanted.sha256, limit=wanted.limit)
                if data is None:
                    data = self._read(wanted, backend)
                    self.store.put(data)
        _check_size(wanted, len(data))
        return data

    def _backend(self, wanted: Wanted, *, was_stored: bool) -> Backend:
        backend = self.connect(wanted.module)
        if backend is None:
            raise _offline(wanted, was_stored=was_stored)
        return backend

    def _read(self, wanted: Wanted, backend: Backend) -> bytes:
        """Return a file from a registry, once its digest is the one promised."""
        self.meter.expect(wanted.size or 0)
        module = wanted.module
        data = backend.read(module.package.collection, wanted.place, revision=module.revision, limit=wanted.limit)
        if (found := sha256(data)) != wanted.sha256:
            raise _other_bytes(wanted, f"sha256 {found}, expected {wanted.sha256}")
        self.meter.add(len(data) if wanted.size else 0, file=wanted.path)
        return data

    def _stream(self, wanted: Wanted, backend: Backend) -> None:
        """Bring a large file into the store."""
        module, came = wanted.module, 0
        self.meter.expect(wanted.limit)

        def source(start: int) -> Iterator[bytes]:
            nonlocal came
            self.meter.add(start - came, file=wanted.path)
            came = start
            collection = module.package.collection
            for chunk in backend.stream(
                collection, wanted.place, revision=module.revision, limit=wanted.limit, start=start
            ):
                came += len(chunk)
                self.meter.add(len(chunk), file=wanted.path)
                yield chunk

        try:
            self.store.fill(wanted.sha256, size=wanted.limit, source=source)
        except IntegrityError as error:
            raise _other_bytes(wanted, str(error)) from error

    def _each(self, items: Sequence[Item], work: Callable[[Item], Answer]) -> list[Answer]:
        """Return the answers for some items in their order; the first error in that order counts."""
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
            jobs = [pool.submit(work, item) for item in items]
            try:
                return [job.result() for job in jobs]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def wanted_files(module: LockedModule) -> list[Wanted]:
    """Return the files that a lock promises of a release, without its manifest."""
    return [Wanted(module=module, path=record.path, sha256=record.sha256, size=record.size) for record in module.files]


def check_identity(module: LockedModule, manifest: bytes) -> None:
    """Check that a manifest is that of the release asked for, and names the files that the lock names.

    Raises:
        IntegrityError: it is another release's manifest, or names other files.
        FormatError: it is broken.
    """
    place = f"{MANIFEST_FILE} of {module.name} {module.version} in {module.registry}"
    try:
        found = Manifest.from_json(manifest)
    except FormatError as error:
        raise error.in_file(place) from error
    if (found.name, found.version) != (module.package.name, module.version):
        raise IntegrityError(f"{place} is the manifest of {found.name} {found.version}")
    promised = {(file.path, file.size, file.sha256) for file in found.forms.get(module.form, ())}
    if {(file.path, file.size, file.sha256) for file in module.files} != promised:
        raise IntegrityError(f"{place} names other files than the lock, for the form {module.form!r}")


def _check_size(wanted: Wanted, size: int) -> None:
    """Check that a file whose digest is the one promised has the size that was promised.

    Raises:
        IntegrityError: it has another.
    """
    if wanted.size is not None and size != wanted.size:
        raise IntegrityError(f"{wanted} holds {size:,} bytes, expected {wanted.size:,}")


def _other_bytes(wanted: Wanted, found: str) -> IntegrityError:
    return IntegrityError(f"{wanted} is not the file that was published: {found}")


def _offline(wanted: Wanted, *, was_stored: bool) -> IntegrityError | NotFound:
    if was_stored:
        return IntegrityError(f"the stored copy of {wanted} was damaged, and this is offline")
    return NotFound(f"{wanted} is not in the store, and this is offline")
