"""`Part`: one module to compose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.package.int8 import INT8
from modhub.package.materialise import is_int8
from modhub.spec.digests import is_sha256

if TYPE_CHECKING:
    from modhub.package.package import Package

FLOAT = "float32"
METHOD = "compose"
"""The method in a composite's manifest. Its parameters say what a part has to know of its own parts."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One module to compose: what it is called, its verified package, and its base where it is a delta.

    `reference` is ``owner/collection/name`` where it comes from a registry, else any name that messages may use. A
    composite is a part, too: each of its scores becomes a column.
    """

    reference: str
    package: Package
    base: Package | None = None

    @property
    def label(self) -> str:
        """Return the name and version that messages use."""
        return f"{self.reference} {self.package.version}"

    @property
    def parents(self) -> frozenset[str]:
        """Return the fingerprints of the networks it was cut from; its own digest where nobody knows them."""
        parent = self.package.manifest.parent
        known = [parent.sha256] if parent else self._told("parents")
        found = known if isinstance(known, (list, tuple)) else []
        names = [item for item in found if isinstance(item, str) and is_sha256(item)]
        return frozenset(names or [self.package.digest])

    @property
    def is_calibrated(self) -> bool:
        """Tell whether its scores can stand beside those of another parent's modules."""
        output = self.package.manifest.output
        return output.calibration is not None if output.semantic == "logit" else self._told("calibrated") is True

    @property
    def precision(self) -> str:
        """Return what it computes in: ``int8`` or ``float32``."""
        if self.package.manifest.kind == "module":
            return INT8 if is_int8(self.package) else FLOAT
        return INT8 if self._told("precision") == INT8 else FLOAT

    def _told(self, key: str) -> object:
        method = self.package.manifest.method
        return method.parameters.get(key) if method and method.name == METHOD else None
