"""`Package`: one release as verified bytes in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.spec.manifest import Manifest

MANIFEST_FILE = "module.json"
GRAPH_FILE = "model.onnx"
CARD_FILE = "README.md"


@dataclass(frozen=True, kw_only=True, eq=False)
class Package:
    """A manifest and the files it names, `module.json` among them.

    `verify` makes packages of strangers' files and `seal` makes new ones; both see to it that every file is named by
    the manifest with its size and digest. A package is equal only to itself: compare `files` for content.
    """

    manifest: Manifest
    files: Mapping[str, bytes]

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
        return sha256(self.files[MANIFEST_FILE])

    def without_files(self) -> Package:
        """Return the package with its manifest alone, for those who depend on it and do not read it."""
        return Package(manifest=self.manifest, files={MANIFEST_FILE: self.files[MANIFEST_FILE]})

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(len(data) for data in self.files.values())
