"""What the solver sees: packages, and two kinds of virtual ones.

A *slot* stands for a required class; its versions are the releases that provide the class. A *property* stands for
something that all parts of one model share (input, operator set, kind of score); its versions are the values found. A
part depends on its own value of each property, so parts that do not fit together are told apart, and explained, by the
same proof as versions that do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from modhub.spec.names import PackageId
from modhub.spec.requirements import ClassRequirement, PackageRequirement

if TYPE_CHECKING:
    from modhub.resolver.catalog import Candidate

Wanted: TypeAlias = PackageRequirement | ClassRequirement


@dataclass(frozen=True)
class Slot:
    """A required class; each of its versions is one release that provides it."""

    requirement: ClassRequirement

    def __str__(self) -> str:
        """Return the requirement."""
        return str(self.requirement)


@dataclass(frozen=True)
class Property:
    """What all parts of one model share: ``input``, ``runtime`` or ``semantic``."""

    name: str

    def __str__(self) -> str:
        """Return the name with the mark of a virtual package."""
        return f"@{self.name}"


Node: TypeAlias = PackageId | Slot | Property

PROPERTIES = (Property("input"), Property("runtime"), Property("semantic"))


def property_value(candidate: Candidate, node: Property) -> str:
    """Return what a release says of a property; parts of one model have equal values."""
    release = candidate.release
    if node.name == "input":
        return release.input.key()
    if node.name == "runtime":
        return ", ".join(
            f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(release.runtime.opset.items())
        )
    # A composite's scores are those of its modules, side by side.
    return "logits" if release.semantic == "logits" else "scores"


def node_of(requirement: Wanted) -> Node:
    """Return the node that a requirement is about."""
    return Slot(requirement) if isinstance(requirement, ClassRequirement) else requirement.package
