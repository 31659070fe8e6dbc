"""Kernel masks as bit strings: a bit per group of kernels that are about equally important to a class.

Shared by both recipes of CNNSplitter. Chromosomes are arrays of booleans ``[..., bits]``, the same number of bits for
every class; which kernels a bit stands for differs from class to class, because each class orders a layer's kernels by
its own importance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Bits = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.floating]
    Integers = npt.NDArray[np.int64]

SMALL_LAYER = 256
"""Layers with fewer kernels get 10 groups, others 100."""


def group_count(kernels: int) -> int:
    """Return how many groups a layer's kernels are put in; no group is empty.

    >>> group_count(64), group_count(512), group_count(6)
    (10, 100, 6)
    """
    return min(kernels, 10 if kernels < SMALL_LAYER else 100)


@dataclass(frozen=True, eq=False)
class Genes:
    """What the bits stand for.

    Args:
        group: of each class and kernel, the bit it belongs to, ``[classes, kernels]``.
        layers: the bits of each layer as a slice, best group first.
        sizes: kernels per bit, ``[bits]``, the same for every class.
    """

    group: Integers
    layers: tuple[slice, ...]
    sizes: Integers

    @classmethod
    def of(cls, importance: Floats, layers: Sequence[Integers]) -> Genes:
        """Return the genes for kernels of some importance to each class, ``[classes, kernels]``.

        Args:
            importance: how much a kernel matters to a class.
            layers: the kernels of each layer; together all of them.
        """
        group = np.zeros(importance.shape, dtype=np.int64)
        slices: list[slice] = []
        sizes: list[int] = []
        for kernels in layers:
            order = kernels[np.argsort(-importance[:, kernels], axis=1, kind="stable")]
            parts = np.array_split(np.arange(len(kernels)), group_count(len(kernels)))
            bits = np.repeat(np.arange(len(sizes), len(sizes) + len(parts)), [len(part) for part in parts])
            np.put_along_axis(group, order, np.broadcast_to(bits, order.shape), axis=1)
            slices.append(slice(len(sizes), len(sizes) + len(parts)))
            sizes += [len(part) for part in parts]
        return cls(group, tuple(slices), np.array(sizes, dtype=np.int64))

    @property
    def bits(self) -> int:
        """Length of a chromosome."""
        return len(self.sizes)

    def masks(self, chromosomes: Bits) -> Bits:
        """Return the kernels that chromosomes keep: ``[classes, ..., bits]`` becomes ``[classes, ..., kernels]``."""
        return np.stack([own[..., group] for own, group in zip(chromosomes, self.group, strict=True)])


def crossed(parents: Bits, children: int, random: np.random.Generator) -> Bits:
    """Return children ``[children, bits]``: child k has the start of parent k and the rest of parent k + 1.

    The point where that changes is drawn uniformly, and there are as many pairs as parents, in a ring.
    """
    count, bits = parents.shape
    first = np.arange(children) % count
    points = random.integers(0, bits, size=children)
    left = np.arange(bits) < points[:, None]
    crossed_bits: Bits = np.where(left, parents[first], parents[(first + 1) % count])
    return crossed_bits


def mutated(children: Bits, share: float, random: np.random.Generator) -> Bits:
    """Return chromosomes in which a share of the bits, the same number in each, is drawn anew: half of them flip."""
    children = children.copy()
    count = int(share * children.shape[1])
    for child in children:
        places = random.choice(len(child), size=count, replace=False)
        child[places] = random.integers(0, 2, size=count).astype(np.bool_)
    return children
