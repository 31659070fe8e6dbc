"""What the solver sees: packages, and two kinds of virtual ones.

A *slot* stands for a required class; its versions are the releases that provide the class. A *property* stands for
something that all parts of one model share; its versions are the values that parts accept, see `properties`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from modhub.resolver.properties import Property
from modhub.spec.names import PackageId
from modhub.spec.requirements import ClassRequirement, PackageRequirement

Wanted: TypeAlias = PackageRequirement | ClassRequirement


@dataclass(frozen=True)
class Slot:
    """A required class; each of its versions is one release that provides it."""

    requirement: ClassRequirement

    def __str__(self) -> str:
        """Return the requirement."""
        return str(self.requirement)


Node: TypeAlias = PackageId | Slot | Property


def node_of(requirement: Wanted) -> Node:
    """Return the node that a requirement is about."""
    return Slot(requirement) if isinstance(requirement, ClassRequirement) else requirement.package
