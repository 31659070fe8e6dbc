"""What the caller decides about an answer, besides the requirements."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from modhub.spec.lock import Lock, Request
    from modhub.spec.names import PackageId
    from modhub.spec.provenance import Runtime

PREFERENCES = ("accuracy", "size", "newest", "f1")
REFUSE, WARN = "refuse", "warn"
ONE_PARENT = ("trunk", "union")
"""Strategies of composing that take modules of one parent only."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Releases that will not do, whatever the requirements say. None stands for no limit.

    Args:
        licenses: the SPDX identifiers that are allowed, and levels of `modhub.spec.licences.LEVELS`.
        min_f1: the least F1 of a module, 0 to 1; the low end of the declared interval counts.
        max_size: the most bytes of a module in its smallest form.
        onnxruntime: the version of ONNX Runtime that will run the answer.
        runtime: the newest operator sets and IR version that will do.
        licence_conflicts: ``refuse`` modules whose licences forbid to make one model of them, or only ``warn``.

    Raises:
        UsageError: `licence_conflicts` is neither.
    """

    licenses: frozenset[str] | None = None
    min_f1: float | None = None
    max_size: int | None = None
    onnxruntime: str | None = None
    runtime: Runtime | None = None
    licence_conflicts: str = REFUSE

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.licence_conflicts not in (REFUSE, WARN):
            raise UsageError(f"licence conflicts: expected {REFUSE} or {WARN}, got {self.licence_conflicts!r}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to choose.

    Args:
        prefer: which provider of a class wins among those that need equally few new bases: the one with the best
            ``accuracy`` (F1), the least ``size``, or the ``newest``; or, however many bases that takes, for each class
            the one with the best ``f1``.
        allow_prerelease: take pre-releases even where no specifier names one.
        pins: versions to keep where the requirements allow it. Only a pin makes a yanked release eligible.
        upgrading: packages whose newest release is wanted, even where that moves what is pinned.
        policy: what will not do.
        compatible: whether all parts must fit into one model; see `modhub.resolver.properties`.
        one_parent: whether they must come of one parent, too, as ``trunk`` and ``union`` need it.
        calibrating: whether the caller will calibrate the scores, so that it does not matter whether they are.

    Raises:
        UsageError: the preference is unknown.
    """

    prefer: str = "accuracy"
    allow_prerelease: bool = False
    pins: Mapping[PackageId, str] = field(default_factory=dict)
    upgrading: frozenset[PackageId] = frozenset()
    policy: Policy = field(default_factory=Policy)
    compatible: bool = True
    one_parent: bool = False
    calibrating: bool = False

    def __post_init__(self) -> None:
        """Check the preference."""
        if self.prefer not in PREFERENCES:
            raise UsageError(f"expected one of {', '.join(PREFERENCES)} to prefer, got {self.prefer!r}")

    @classmethod
    def of(cls, request: Request) -> Options:
        """Return the options that a lock was made with.

        Raises:
            UsageError: it names a preference or policy that is unknown.
        """
        policy = Policy(
            licenses=None if request.licenses is None else frozenset(request.licenses),
            min_f1=request.min_f1,
            max_size=request.max_size,
            onnxruntime=request.onnxruntime,
            licence_conflicts=request.licence_conflicts or REFUSE,
        )
        return cls(
            prefer=request.prefer or PREFERENCES[0],
            allow_prerelease=bool(request.prerelease),
            policy=policy,
            compatible=not request.apart,
            one_parent=request.strategy in ONE_PARENT,
            calibrating=bool(request.calibrating),
        )

    def keeping(self, lock: Lock, *, upgrading: Collection[PackageId] = ()) -> Options:
        """Return these options with the versions of a lock as pins, but for the packages to upgrade."""
        pins = {module.package: module.version for module in lock.modules if module.package not in upgrading}
        return dataclasses.replace(self, pins=pins, upgrading=frozenset(upgrading))


def with_runtime(options: Options, runtime: Runtime) -> Options:
    """Return options whose policy knows the newest operator sets and IR version, where it does not say them itself."""
    policy = options.policy
    return (
        options if policy.runtime else dataclasses.replace(options, policy=dataclasses.replace(policy, runtime=runtime))
    )
