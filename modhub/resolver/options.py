"""What the caller decides about an answer, besides the requirements."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from modhub.spec.lock import Lock
    from modhub.spec.names import PackageId

PREFERENCES = ("accuracy", "size", "newest")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Releases that will not do, whatever the requirements say. None stands for no limit.

    Args:
        licenses: the SPDX identifiers that are allowed.
        min_f1: the least F1 of a module, 0 to 1; the low end of the declared interval counts.
        max_size: the most bytes of a module in its smallest form.
        onnxruntime: the version of ONNX Runtime that will run the answer.
    """

    licenses: frozenset[str] | None = None
    min_f1: float | None = None
    max_size: int | None = None
    onnxruntime: str | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to choose.

    Args:
        prefer: which provider of a class wins among those that need equally few new bases: the one with the best
            ``accuracy`` (F1), the least ``size``, or the ``newest``.
        allow_prerelease: take pre-releases even where no specifier names one.
        pins: versions to keep where the requirements allow it. Only a pin makes a yanked release eligible.
        policy: what will not do.
        compatible: whether all parts must fit into one model: with one input, operator set and kind of score.

    Raises:
        UsageError: the preference is unknown.
    """

    prefer: str = "accuracy"
    allow_prerelease: bool = False
    pins: Mapping[PackageId, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    compatible: bool = True

    def __post_init__(self) -> None:
        """Check the preference."""
        if self.prefer not in PREFERENCES:
            raise UsageError(f"expected one of {', '.join(PREFERENCES)} to prefer, got {self.prefer!r}")

    def keeping(self, lock: Lock, *, upgrading: Collection[PackageId] = ()) -> Options:
        """Return these options with the versions of a lock as pins, but for the packages to upgrade."""
        pins = {module.package: module.version for module in lock.modules if module.package not in upgrading}
        return dataclasses.replace(self, pins=pins)
