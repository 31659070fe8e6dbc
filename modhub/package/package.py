"""`Package`: one release, verified."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from modhub.fsops import bytes_of
from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.fsops import Buffer, Content
    from modhub.spec.manifest import Manifest

MANIFEST_FILE = "module.json"
GRAPH_FILE = "model.onnx"
CARD_FILE = "README.md"
ARRAYS_SUFFIX = ".safetensors"
"""Of files that hold arrays and no other text than their header."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Package:
    """A manifest and the files it names, `module.json` among them.

    `verify` makes packages of strangers' files and `seal` makes new ones; both see to it that every file is named by
    the manifest with its size and digest. A package is equal only to itself: compare `files` for content. Large files
    that were read from a disk stay there, as a `modhub.fsops.LocalFile`: `data` reads them when they are needed.
    """

    manifest: Manifest
    files: Mapping[str, Content]

    def __post_init__(self) -> None:
        """Keep nobody from sharing the files, and everybody from changing them."""
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))

    @property
    def name(self) -> str:
        """Return the package's name inside its collection."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Return the package's version."""
        return self.manifest.version

    @cached_property
    def digest(self) -> str:
        """Return the digest of `module.json`, by which others depend on this very package."""
        return sha256(self.read(MANIFEST_FILE))

    def data(self, file: str) -> Buffer:
        """Return the bytes of a file of arrays.

        Raises:
            IntegrityError: it lies on a disk, and is not what was verified.
            HubError: it cannot be read.
        """
        content = self.files[file]
        return content if isinstance(content, bytes) else content.data()

    def read(self, file: str) -> bytes:
        """Return the bytes of a file; raises as `data`."""
        return bytes_of(self.files[file])

    def contents(self) -> dict[str, bytes]:
        """Return the bytes of all files by name; raises as `data`."""
        return {name: self.read(name) for name in self.files}

    def without_files(self) -> Package:
        """Return the package with its manifest alone, for those who depend on it and do not read it."""
        return Package(manifest=self.manifest, files={MANIFEST_FILE: self.read(MANIFEST_FILE)})

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(len(data) for data in self.files.values())
