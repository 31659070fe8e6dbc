"""The index last seen of each collection: what makes a registry's history stick, and offline work possible.

A registry that goes back to an older index hides a yank; one that changes a listed release gives new bytes an old
name. Who has seen the newer index before notices.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import FormatError, NotFound
from modhub.spec import limits
from modhub.spec.digests import check_sha256, sha256
from modhub.spec.document import JSON, Fields, format_json, parse_json, text
from modhub.spec.names import CollectionId

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.hub.store import Store

NOTE_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A revision of a collection, and the digest of the index it had."""

    registry: str
    collection: str
    revision: str
    index: str

    @classmethod
    def from_dict(cls, document: object) -> Seen:
        """Return the note that a JSON object holds.

        Raises:
            FormatError: a key is missing or has a bad value.
        """
        fields = Fields(document)
        index = fields.required("index", text)
        check_sha256(index, where="index")
        return cls(
            registry=fields.required("registry", text),
            collection=fields.required("collection", text),
            revision=fields.required("revision", text),
            index=index,
        )

    def to_dict(self) -> dict[str, JSON]:
        """Return the JSON object that `from_dict` reads."""
        return {
            "registry": self.registry,
            "collection": self.collection,
            "revision": self.revision,
            "index": self.index,
        }


def recall(store: Store, registry: str, *, collection: CollectionId) -> tuple[str, bytes] | None:
    """Return revision and index of a collection when it was last seen, or None.

    Raises:
        StorageError: the store cannot be read.
    """
    seen = _read(_note(store, registry, collection))
    data = store.get(seen.index, limit=limits.INDEX_BYTES) if seen else None
    return None if seen is None or data is None else (seen.revision, data)


def remember(store: Store, registry: str, *, collection: CollectionId, revision: str, index: bytes) -> None:
    """Note the index of a collection as the one last seen.

    Raises:
        StorageError: the store cannot be written.
    """
    seen = Seen(registry=registry, collection=str(collection), revision=revision, index=store.put(index))
    path = _note(store, registry, collection)
    fsops.make_folder(path.parent)
    fsops.replace_file(path, format_json(seen.to_dict()))


def forget(store: Store, registry: str, *, collection: CollectionId) -> None:
    """Trust whatever the registry shows next for a collection.

    Raises:
        StorageError: the store cannot be written.
    """
    fsops.remove(_note(store, registry, collection))


def collections(store: Store, registry: str) -> list[CollectionId]:
    """Return the collections of a registry that were ever seen, sorted.

    Raises:
        StorageError: the store cannot be read.
    """
    return sorted(CollectionId.parse(note.collection) for note in notes(store) if note.registry == registry)


def notes(store: Store) -> list[Seen]:
    """Return all notes of a store, damaged ones left out.

    Raises:
        StorageError: the store cannot be read.
    """
    folder = store.root / "seen"
    with suppress(NotFound):
        found = [_read(folder / name) for name in fsops.list_folder(folder)]
        return [note for note in found if note is not None]
    return []


def _read(path: Path) -> Seen | None:
    """Return a note, or None where it is absent or damaged: it is then made again."""
    try:
        return Seen.from_dict(parse_json(fsops.read_file(path, limit=NOTE_BYTES), limit=NOTE_BYTES))
    except (NotFound, FormatError):
        return None


def _note(store: Store, registry: str, collection: CollectionId) -> Path:
    return store.root / "seen" / f"{sha256(f'{registry} {collection}'.encode())}.json"
