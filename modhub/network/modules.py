"""`ClassModule` and `Decomposition`: what every decomposer produces.

A class module never copies weights. It is masks over its parent's arrays after the cut (channels kept, or single
weights), two optional numbers per kept channel, a small head and a calibration. All systems end in this value, so
packing, slicing and composing are written once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.errors import DecomposeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from modhub.network.network import Network
    from modhub.network.sites import Site, Sites
    from modhub.spec.manifest import DataSource, Method, Metric
    from modhub.spec.ports import Calibration

    Channels = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A scale and an offset per output channel of one layer: it computes ``scale * layer(x) + offset``.

    Both have the layer's full width; entries of dropped channels have no effect.
    """

    scale: Floats
    offset: Floats


@dataclass(frozen=True, kw_only=True)
class OwnHead:
    """The score is the class's own logit. Only that row of the classifier is kept."""


@dataclass(frozen=True, kw_only=True)
class MlpHead:
    """The score is ``second @ relu(first @ relu(logits) + first_bias) + second_bias`` (GradSplitter's head).

    Shapes: `first` ``[hidden, classes]``, `first_bias` ``[hidden]``, `second` ``[1, hidden]``, `second_bias` ``[1]``.
    """

    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats


Head = OwnHead | MlpHead


@dataclass(frozen=True, kw_only=True)
class ClassModule:
    """One class of a decomposed classifier.

    `row` is the class's position in the parent's logits. `kept` maps site ids to ascending channel numbers; a site that
    is absent is whole. `weights` maps arrays to flags of the same shape: which of their elements are kept, the others
    are zero; an array that is absent is whole. `affine` maps weight arrays of layers to their scale and offset.
    `validation` are its calibrated scores on the validation data ``[n]``, for reports; no package holds them.
    """

    label: str
    row: int
    kept: Mapping[str, Channels] = field(default_factory=dict)
    weights: Mapping[str, Flags] = field(default_factory=dict)
    affine: Mapping[str, Affine] = field(default_factory=dict)
    head: Head = field(default_factory=OwnHead)
    calibration: Calibration | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    validation: Floats | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """A parent, where its trunk ends, and its class modules.

    `cut` is the value that ends the shared trunk, empty where there is none. `history` is what the decomposer saw on
    the way, a plain dictionary per step, for reports. `validation` is the position of the module whose class each
    validation sample has ``[n]``, -1 where no module scores it; None where nobody kept it.
    """

    parent: Network
    sites: Sites
    cut: str
    modules: tuple[ClassModule, ...]
    method: Method
    data: DataSource | None = None
    parent_metrics: Mapping[str, Metric] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    validation: Channels | None = field(default=None, compare=False, repr=False)


def check_module(network: Network, sites: Sites, module: ClassModule) -> None:
    """Check that a module's masks, affine maps and row fit the parent.

    Raises:
        DecomposeError: a site, layer or array is unknown or pinned, channels are out of range, unordered or none, or a
            shape is wrong.
    """
    classes = int(network.output_shape[-1])
    if not 0 <= module.row < classes:
        raise DecomposeError(f"module {module.label!r} scores logit {module.row}, the parent has {classes}")
    for site_id, channels in module.kept.items():
        _check_channels(sites[site_id], channels, module.label)
    for name, flags in module.weights.items():
        array = network.arrays.get(name)
        if array is None or array.dtype.kind != "f" or array.shape != flags.shape or flags.dtype != np.bool_:
            found = f"{flags.dtype} {list(flags.shape)}"
            raise DecomposeError(f"module {module.label!r} masks {name!r}, which is no array of weights like {found}")
    layers = affine_layers(network) & {layer for site in sites.sites for layer in site.layers}
    for name, affine in module.affine.items():
        width = network.arrays[name].shape[0] if name in layers else -1
        if affine.scale.shape != (width,) or affine.offset.shape != (width,):
            size = len(affine.scale)
            raise DecomposeError(f"module {module.label!r} scales {name!r}, which is no layer of {size} channels")


def affine_layers(network: Network) -> frozenset[str]:
    """Return the weights of the layers that can have a scale and an offset per output channel.

    Those are convolutions and fully connected layers whose constant weights and bias nobody else reads.
    """
    uses = network.consumers()
    return frozenset(
        node.inputs[1]
        for node in network.nodes
        if node.op in ("Conv", "Gemm")
        and len(node.inputs) > 2
        and all(name in network.arrays and len(uses[name]) == 1 for name in node.inputs[1:3])
    )


def _check_channels(site: Site, channels: Channels, label: str) -> None:
    if site.pinned and len(channels) < site.size:
        raise DecomposeError(f"module {label!r} cuts site {site.id!r}, which cannot be cut: {site.pinned}")
    ordered = len(channels) > 0 and bool((np.diff(channels) > 0).all())
    if not ordered or channels[0] < 0 or channels[-1] >= site.size:
        problem = f"keeps channels of site {site.id!r} that are not ascending numbers below {site.size}"
        raise DecomposeError(f"module {label!r} {problem}")


def kernels(sites: Iterable[Site]) -> int:
    """Return the number of kernels and neurons that the sites' layers make: what a mask can drop."""
    return sum(site.size * len(site.layers) for site in sites)


def kernels_kept(sites: Iterable[Site], kept: Mapping[str, Channels]) -> int:
    """Return how many of `kernels` a mask keeps."""
    return sum((len(kept[site.id]) if site.id in kept else site.size) * len(site.layers) for site in sites)
