"""`Package`: one release as verified bytes in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modhub.spec.manifest import Manifest

MANIFEST_FILE = "module.json"
GRAPH_FILE = "model.onnx"
CARD_FILE = "README.md"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A manifest and the files it names, `module.json` among them.

    A package that exists is consistent: every file is named by the manifest with its size and digest.
    """

    manifest: Manifest
    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))

    @property
    def name(self) -> str:
        """Return the package's name inside its collection."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Return the package's version."""
        return self.manifest.version

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(len(data) for data in self.files.values())
