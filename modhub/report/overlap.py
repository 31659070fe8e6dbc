"""How much of what modules keep they keep in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.network.report import moves_channels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from modhub.network.network import Network
    from modhub.report.split import Split

    Matrix = npt.NDArray[np.float64]

CHUNK = 1 << 18
"""Elements of an array that are compared at once where single weights are masked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlap:
    """Weights in common over weights in either (Jaccard), ``[modules, modules]``; symmetric, 1 on the diagonal.

    `of` says which weights were counted.
    """

    modules: tuple[str, ...]
    jaccard: Matrix
    of: str

    @property
    def others(self) -> Matrix:
        """The entries of different modules, in no order that means anything."""
        return self.jaccard[~np.eye(len(self.modules), dtype=np.bool_)]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        rows = [[round(value, 6) for value in row] for row in self.jaccard.tolist()]
        return {"of": self.of, "classes": list(self.modules), "jaccard": rows}


def overlap_of(split: Split) -> Overlap:
    """Return how much of the parent's weights behind the trunk modules keep in common.

    What every module keeps because masks cannot act on it says nothing, so only arrays that masks act on count.
    """
    count = len(split.modules)
    common = np.zeros((count, count))
    for array in sorted(_masked_arrays(split)):
        if any(array in module.weights for module in split.modules):
            common += _common_bits(split, array)
        else:
            common += _common_channels(split, array)
    return Overlap(modules=split.names, jaccard=_jaccard(common), of="the parent's weights that masks act on")


def _masked_arrays(split: Split) -> set[str]:
    open_channels = np.zeros(split.sites.channel_count, dtype=np.bool_)
    for site in split.behind:
        start = split.sites.offsets[site.id]
        open_channels[start : start + site.size] = True
    found = {name for name, axes in split.axes.items() if any(open_channels[c].any() for c in axes.values())}
    return found | {name for module in split.modules for name in module.weights}


def _common_channels(split: Split, array: str) -> Matrix:
    """Return how many elements each two modules keep in common: masks are products, so counts multiply axis by axis."""
    shape, axes = split.parent.arrays[array].shape, split.axes[array]
    common = np.full((len(split.modules),) * 2, float(math.prod(s for axis, s in enumerate(shape) if axis not in axes)))
    for channels in axes.values():
        flags = split.flags[:, channels].astype(np.float64)
        common *= flags @ flags.T
    return common


def _common_bits(split: Split, array: str) -> Matrix:
    """Return the same where single weights are masked, element by element."""
    packed = [np.packbits(split.bits(module, i, array).reshape(-1)) for i, module in enumerate(split.modules)]
    common = np.zeros((len(packed),) * 2)
    for start in range(0, len(packed[0]), CHUNK // 8):
        part = np.stack([np.unpackbits(bits[start : start + CHUNK // 8]) for bits in packed]).astype(np.float32)
        common += part @ part.T
    return common


def shared_weights(network: Network, columns: Sequence[str]) -> Overlap:
    """Return how much of a composite's weights its columns share, by what each score is computed from.

    Args:
        network: a composite: its last node joins a value per column.
        columns: the classes of the columns.
    """
    reached = [_arrays_behind(network, value) for value in network.nodes[-1].inputs]
    sizes = {name: 0 if moves_channels(name) else array.size for name, array in network.weights()}
    common = np.array([[float(sum(sizes[name] for name in one & other)) for other in reached] for one in reached])
    return Overlap(modules=tuple(columns), jaccard=_jaccard(common), of="the weights that a score is computed from")


def _arrays_behind(network: Network, value: str) -> frozenset[str]:
    wanted, found = {value}, set()
    for node in reversed(network.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
    for name, _ in network.weights():
        if name in wanted:
            found.add(name)
    return frozenset(found)


def _jaccard(common: Matrix) -> Matrix:
    sizes = np.diag(common)
    either = sizes[:, None] + sizes[None, :] - common
    result = np.divide(common, either, out=np.ones_like(common), where=either > 0)
    np.fill_diagonal(result, 1.0)
    return np.asarray((result + result.T) / 2)
