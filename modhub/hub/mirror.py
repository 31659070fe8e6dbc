"""Copying collections from one registry to another, byte for byte: the index, the card and every file of a release.

What is copied is what the source's index promises; nothing is taken from the source that it does not name. The target
keeps its own history: it is brought to the source's newest index in one commit, and only if that continues its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import CommitConflict, FormatError, IntegrityError, NotFound
from modhub.hub.backend import CARD_FILE, INDEX_FILE
from modhub.hub.card import render_card
from modhub.hub.download import Wanted
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.lock import LockedModule
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.fsops import Content, LocalFile
    from modhub.hub.client import Client, Snapshot
    from modhub.hub.transfer import Progress
    from modhub.spec.digests import FileRecord
    from modhub.spec.index import Index, Release
    from modhub.spec.names import CollectionId

CARD_BYTES = 4 << 20
ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class Copy:
    """What copying a collection did.

    Args:
        revision: the target's revision that is the same as the source's.
        copied: the releases that the target lacked.
        size: their bytes.
        already: whether there was nothing to do.
    """

    collection: CollectionId
    revision: str | None
    copied: tuple[Release, ...]
    size: int
    already: bool


def mirror(
    client: Client, collection: CollectionId, *, source: str, target: str, progress: Progress | None = None
) -> Copy:
    """Bring a collection of one registry to the state that it has in another; both are registries of the client.

    Raises:
        NotFound: the source has no such collection.
        IntegrityError: a file of the source is not the one that its index promises.
        CommitConflict: the target's history of the collection is another one, or others write there all the time.
        HubError: a registry cannot be read or written.
    """
    backend = client.backend(target)
    now = client.snapshot(collection, registry=source)
    for _ in range(ATTEMPTS):
        before = _state(client, collection, target)
        if before is not None and before.digest == now.digest:
            return Copy(collection=collection, revision=before.revision, copied=(), size=0, already=True)
        missing = _missing(now.index, before)
        files = release_contents(client, now, missing, progress=progress)
        changes: dict[str, Content] = {
            **files,
            INDEX_FILE: index_bytes(client, now, source=source),
            CARD_FILE: card_bytes(client, now, source=source),
        }
        try:
            revision = backend.commit(
                collection,
                changes,
                parent=before.revision if before else None,
                message=f"Mirror {now.registry} {collection}, revision {now.index.revision}",
            )
        except CommitConflict:
            continue
        size = sum(file.size for file in files.values())
        return Copy(collection=collection, revision=revision, copied=missing, size=size, already=False)
    raise CommitConflict(f"{collection} in {backend.name} changed during each of {ATTEMPTS} attempts to mirror it")


def release_contents(
    client: Client, now: Snapshot, releases: Sequence[Release], *, progress: Progress | None = None
) -> dict[str, LocalFile]:
    """Return all files of some releases by their path in the collection; they lie in the store by then, hashed.

    Raises:
        IntegrityError: a file is not the one that the index promises.
        NotFound: a file is gone.
        HubError: the registry cannot be read, or the store cannot be written.
    """
    manifests = [_wanted(now, release, release.manifest) for release in releases]
    client.keep(manifests, progress=progress)
    wanted = [
        _wanted(now, release, record)
        for release, manifest in zip(releases, manifests, strict=True)
        for record in _files_of(client, manifest)
    ]
    client.keep(wanted, progress=progress)
    return {each.place: client.store.local(each.sha256, size=each.limit) for each in (*wanted, *manifests)}


def _wanted(now: Snapshot, release: Release, record: FileRecord) -> Wanted:
    """Return a file of a release as something that a lock promises."""
    form, files = next(iter(release.forms.items()))
    module = LockedModule(
        name=str(now.collection.package(release.name)),
        version=release.version,
        kind=release.kind,
        registry=now.registry,
        revision=now.revision,
        manifest_sha256=release.manifest.sha256,
        form=form,
        files=files,
        classes=release.classes,
        license=release.license,
    )
    return Wanted(module=module, path=record.path, sha256=record.sha256, size=record.size)


def _files_of(client: Client, wanted: Wanted) -> tuple[FileRecord, ...]:
    """Return the files that a manifest names, those of all forms and the card."""
    data = client.store.get(wanted.sha256, limit=wanted.limit)
    if data is None:
        raise IntegrityError(f"the stored copy of {wanted} was damaged")
    try:
        return Manifest.from_json(data).files
    except FormatError as error:
        raise error.in_file(str(wanted)) from error


def _state(client: Client, collection: CollectionId, registry: str) -> Snapshot | None:
    try:
        return client.snapshot(collection, registry=registry)
    except NotFound:
        return None


def _missing(index: Index, before: Snapshot | None) -> tuple[Release, ...]:
    """Return the releases that the target lacks.

    Raises:
        CommitConflict: it has something that the source has not.
    """
    if before is None:
        return index.releases
    try:
        index.check_follows(before.index)
    except FormatError as error:
        problem = f"{before.collection} in {before.registry} has a history of its own, not continued by the source"
        raise CommitConflict(f"{problem}: {error}") from error
    return tuple(release for release in index.releases if before.index.get(release.name, release.version) is None)


def index_bytes(client: Client, now: Snapshot, *, source: str) -> bytes:
    """Return the very bytes of an index that was read.

    Raises:
        IntegrityError: the registry shows others for the same revision now.
    """
    data = now.index.to_json()
    if sha256(data) != now.digest:
        # Written by another tool.
        backend = client.backend(source)
        data = backend.read(now.collection, INDEX_FILE, revision=now.revision, limit=limits.INDEX_BYTES)
        if sha256(data) != now.digest:
            raise IntegrityError(f"{now.registry} shows two indexes of {now.collection} for revision {now.revision}")
    return data


def card_bytes(client: Client, now: Snapshot, *, source: str) -> bytes:
    """Return a collection's card as its registry has it, or as it would be made."""
    backend = client.backend(source)
    try:
        return backend.read(now.collection, CARD_FILE, revision=now.revision, limit=CARD_BYTES)
    except NotFound:
        return render_card(now.index, collection=now.collection).encode("utf-8")
