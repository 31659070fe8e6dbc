"""Getting the files of a locked release: from the store, or from its registry; hashed before anybody sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import FormatError, IntegrityError, NotFound
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.index import MANIFEST_FILE
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub.hub.backend import Backend
    from modhub.hub.store import Store
    from modhub.spec.lock import LockedModule


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

    def __str__(self) -> str:
        """Return file, release and registry, for messages."""
        return f"{self.path} of {self.module.name} {self.module.version} in {self.module.registry}"


def fetch_files(module: LockedModule, *, store: Store, connect: Callable[[], Backend | None]) -> dict[str, bytes]:
    """Return the files of a locked release by name, `module.json` among them.

    `connect` returns the release's registry, or None when offline; it is called only for files that the store lacks.

    Raises:
        IntegrityError: a file is not the one promised, or the manifest is another package's.
        NotFound: a file is gone, or is not in the store and this is offline.
        HubError: the registry cannot be read, or the store cannot be written.
    """
    wanted = Wanted(module=module, path=MANIFEST_FILE, sha256=module.manifest_sha256)
    manifest = fetch_file(wanted, store=store, connect=connect)
    # Before any large file is fetched: a lock or index that contradicts the manifest is found here.
    check_identity(module, manifest)
    files = {MANIFEST_FILE: manifest}
    for record in module.files:
        wanted = Wanted(module=module, path=record.path, sha256=record.sha256, size=record.size)
        files[record.path] = fetch_file(wanted, store=store, connect=connect)
    return files


def fetch_file(wanted: Wanted, *, store: Store, connect: Callable[[], Backend | None]) -> bytes:
    """Return one file; of several processes that want it at once, one downloads it.

    Raises:
        IntegrityError: the file is not the one promised, or its stored copy is damaged and this is offline.
        NotFound: the file is gone, or is not in the store and this is offline.
        HubError: the registry cannot be read, or the store cannot be written.
    """
    was_stored = store.has(wanted.sha256)
    data = store.get(wanted.sha256, limit=wanted.limit)
    if data is None:
        backend = connect()
        if backend is None:
            raise _offline(wanted, was_stored=was_stored)
        with store.claim(wanted.sha256):
            data = store.get(wanted.sha256, limit=wanted.limit)
            if data is None:
                data = download(wanted, backend=backend)
                store.put(data)
    check_size(wanted, data)
    return data


def download(wanted: Wanted, *, backend: Backend) -> bytes:
    """Return a file from a registry, once its digest is the one promised.

    Raises:
        IntegrityError: it is larger than promised, or other bytes.
        NotFound: it is gone.
        HubError: the registry cannot be read.
    """
    module = wanted.module
    path = f"{module.package.name}/{module.version}/{wanted.path}"
    data = backend.read(module.package.collection, path, revision=module.revision, limit=wanted.limit)
    if (found := sha256(data)) != wanted.sha256:
        raise IntegrityError(f"{wanted} is not the file that was published: sha256 {found}, expected {wanted.sha256}")
    return data


def check_size(wanted: Wanted, data: bytes) -> None:
    """Check the size that the lock promises; its digest was checked before.

    Raises:
        IntegrityError: it is another.
    """
    if wanted.size is not None and len(data) != wanted.size:
        raise IntegrityError(f"{wanted} holds {len(data):,} bytes, expected {wanted.size:,}")


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


def _offline(wanted: Wanted, *, was_stored: bool) -> IntegrityError | NotFound:
    if was_stored:
        return IntegrityError(f"the stored copy of {wanted} was damaged, and this is offline")
    return NotFound(f"{wanted} is not in the store, and this is offline")
