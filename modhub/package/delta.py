"""`delta.safetensors`: a class module as masks over its base.

Arrays: ``keep/SITE`` (uint32, ascending channel numbers; a site that is absent is whole), ``bits/ARRAY`` (uint8, one
bit per element of that array in row-major order, bit `i` of byte `j` for element ``8 * j + i``; elements whose bit is 0
are zero) or, where that is shorter, ``xor/ARRAY`` (uint8, how these bits differ from those of the base's stem, as gaps;
see `modhub.package.gaps`), ``values/ARRAY`` (float32, over a pruned base: the kept elements that it lacks, in row-major
order), ``scale/LAYER`` and ``offset/LAYER`` (float32, one number per kept channel of that layer), and for an MLP
head ``head/first``, ``head/first.bias``, ``head/second``, ``head/second.bias``. One metadata entry, ``modhub``, holds
JSON: the format, the fingerprint of the base, the row of the parent's logits, the label, the head's kind and, where
something refers to it, the digest of the stem.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import DecomposeError, FormatError
from modhub.network.modules import Affine, ClassModule, MlpHead, OwnHead, check_module
from modhub.package.gaps import from_gaps, to_gaps
from modhub.package.safetensors_reader import ABOUT, read_own
from modhub.package.stem import NO_STEM, scattered, unpacked
from modhub.spec import limits
from modhub.spec.document import check_format, inside, natural, one_of, shown, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.fsops import Buffer
    from modhub.network.modules import Channels, Head
    from modhub.network.network import Array, Network, Node
    from modhub.network.sites import Flags, Sites
    from modhub.package.stem import Stem
    from modhub.spec.ports import Calibration

FORMAT = "modhub/delta@1"
DELTA_FILE = "delta.safetensors"
HEAD_ARRAYS = ("first", "first.bias", "second", "second.bias")
PARTS = {
    "keep": (np.uint32, (1,)),
    "bits": (np.uint8, (1,)),
    "xor": (np.uint8, (1,)),
    "values": (np.float32, (1,)),
    "scale": (np.float32, (1,)),
    "offset": (np.float32, (1,)),
    "head": (np.float32, (1, 2)),
}
"""What an array's name begins with, its element type, and how many dimensions it may have."""


def to_delta(network: Network, sites: Sites, module: ClassModule, *, base: str, stem: Stem = NO_STEM) -> bytes:
    """Return a module as the bytes of `delta.safetensors`; equal modules give equal bytes.

    Args:
        network: the parent.
        sites: its sites.
        module: what to write; its calibration goes into the manifest instead.
        base: the base's fingerprint.
        stem: what the base's modules have in common.
    """
    from safetensors.numpy import save

    check_module(network, sites, module)
    settled = sites.settle(module.kept)
    arrays: dict[str, Array] = {
        f"keep/{site}": channels.astype(np.uint32)
        for site, channels in settled.items()
        if len(channels) < sites[site].size
    }
    arrays.update(_masks(module, stem))
    arrays.update(_missing_values(network, module, stem))
    flags = sites.flags(settled)
    for layer, affine in module.affine.items():
        rows = flags[layer_channels(sites, layer)]
        arrays[f"scale/{layer}"] = affine.scale[rows].astype(np.float32)
        arrays[f"offset/{layer}"] = affine.offset[rows].astype(np.float32)
    kind = "own"
    if isinstance(module.head, MlpHead):
        kind, head = "mlp", module.head
        values = (head.first, head.first_bias, head.second, head.second_bias)
        arrays.update({f"head/{name}": value for name, value in zip(HEAD_ARRAYS, values, strict=True)})
    about = {"format": FORMAT, "base": base, "row": module.row, "label": module.label, "head": kind}
    if any(name.startswith(("xor/", "values/")) for name in arrays):
        about["stem"] = stem.digest
    metadata = {"modhub": json.dumps(about, sort_keys=True)}
    return save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, metadata=metadata)


def _masks(module: ClassModule, stem: Stem) -> dict[str, Array]:
    """Return the masks of weights, each as bits or as its difference to the stem, whichever is shorter."""
    found: dict[str, Array] = {}
    for name, flags in module.weights.items():
        if flags.all():
            continue
        bits = np.packbits(flags, bitorder="little")
        gaps = to_gaps((flags ^ stem.flags[name]).reshape(-1)) if name in stem.flags else None
        if gaps is not None and len(gaps) < len(bits):
            found[f"xor/{name}"] = gaps
        else:
            found[f"bits/{name}"] = bits
    return found


def _missing_values(network: Network, module: ClassModule, stem: Stem) -> dict[str, Array]:
    """Return the kept weights that a pruned base lacks."""
    if not stem.is_pruned:
        return {}
    found = {}
    for name, common in stem.flags.items():
        private = module.weights.get(name, np.ones_like(common)) & ~common
        if private.any():
            found[f"values/{name}"] = network.arrays[name][private].astype(np.float32)
    return found


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A `delta.safetensors` as it was read, before anybody knows whether it fits a base.

    `base` is the fingerprint of the network it was made for, `stem` the digest of the stem it refers to, if it does;
    `row` and `label` say which class it scores.
    """

    base: str
    row: int
    label: str
    head: str
    stem: str
    arrays: Mapping[str, Array]

    def under(self, prefix: str) -> dict[str, Array]:
        """Return the arrays below a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): a for name, a in self.arrays.items() if name.startswith(prefix)}


def read_delta(data: Buffer) -> Delta:
    """Return what the bytes of a `delta.safetensors` hold.

    Raises:
        FormatError: the file is malformed, of another format, or holds arrays that a delta has no use for.
    """
    about, arrays = read_own(data, limit=limits.GRAPH_TEXT_BYTES)
    with inside(ABOUT):
        check_format(about.required("format", text), expected=FORMAT)
        delta = Delta(
            base=about.required("base", text),
            row=about.required("row", natural),
            label=about.required("label", text),
            head=about.required("head", one_of("own", "mlp")),
            stem=about.optional("stem", text, ""),
            arrays=arrays,
        )
    for name, array in arrays.items():
        _check_array(name, array, delta)
    return delta


def _check_array(name: str, array: Array, delta: Delta) -> None:
    kind, _, rest = name.partition("/")
    if kind not in PARTS or not rest or (kind == "head" and (delta.head == "own" or rest not in HEAD_ARRAYS)):
        raise FormatError("has no meaning in a delta", where=name)
    dtype, ranks = PARTS[kind]
    if array.dtype != dtype or array.ndim not in ranks:
        raise FormatError(f"is {array.dtype} of {array.ndim} dimensions, expected {np.dtype(dtype)}", where=name)


def from_delta(
    data: Buffer,
    network: Network,
    sites: Sites,
    *,
    base: str,
    calibration: Calibration | None,
    stem: Stem = NO_STEM,
) -> ClassModule:
    """Return the module that `to_delta` wrote.

    Raises:
        FormatError: the file is malformed, belongs to another base or stem, or does not fit the base's sites.
    """
    delta = read_delta(data)
    if delta.base != base:
        raise FormatError(f"was made for the base {shown(delta.base)}, not for {base!r}", where="base")
    if delta.stem not in ("", stem.digest):
        problem = f"refers to the stem {shown(delta.stem)}, the base has {stem.digest or 'none'}"
        raise FormatError(problem, where="stem")
    kept = {site: channels.astype(np.int64) for site, channels in delta.under("keep/").items()}
    module = ClassModule(
        label=delta.label,
        row=delta.row,
        kept=kept,
        weights=_weights(delta, network, stem),
        head=_head(delta, network),
        calibration=calibration,
    )
    try:
        check_module(network, sites, module)
        module = dataclasses.replace(module, affine=_affine_maps(delta, network, sites, kept))
        check_module(network, sites, module)
    except DecomposeError as error:
        raise FormatError(f"does not fit its base: {error}") from error
    return module


def completed(data: Buffer, network: Network, module: ClassModule, *, stem: Stem) -> Network:
    """Return the base with the weights that only this module has, for a base that is pruned to its stem.

    Raises:
        FormatError: the values are not those of the elements that the module keeps and the base lacks.
    """
    values = read_delta(data).under("values/")
    if not stem.is_pruned:
        if values:
            raise FormatError("brings weights to a base that has them all", where=f"values/{min(values)}")
        return network
    arrays = dict(network.arrays)
    private = {name: module.weights.get(name, np.ones_like(own)) & ~own for name, own in stem.flags.items()}
    for name, flags in private.items():
        if flags.any() and name not in values:
            raise FormatError("is missing", where=f"values/{name}")
    for name, given in values.items():
        if name not in private:
            raise FormatError("has no meaning beside this stem", where=f"values/{name}")
        own = scattered(given, private[name], where=f"values/{name}")
        arrays[name] = np.where(private[name], own, arrays[name])
    return network.replace(arrays=arrays)


def _weights(delta: Delta, network: Network, stem: Stem) -> dict[str, Flags]:
    bits, gaps = delta.under("bits/"), delta.under("xor/")
    twice = sorted(set(bits) & set(gaps))
    if twice:
        raise FormatError("is masked in two ways", where=f"xor/{twice[0]}")
    masks = {name: unpacked(packed, _shape(name, network), where=f"bits/{name}") for name, packed in bits.items()}
    return {**masks, **{name: _differing(name, packed, network, stem) for name, packed in gaps.items()}}


def _shape(name: str, network: Network) -> tuple[int, ...]:
    if name not in network.arrays:
        raise FormatError(f"masks {shown(name)}, no array of the base", where="bits")
    return network.arrays[name].shape


def _differing(name: str, packed: Array, network: Network, stem: Stem) -> Flags:
    common = stem.flags.get(name)
    if common is None or name not in network.arrays or common.shape != network.arrays[name].shape:
        raise FormatError("differs from what the stem does not have", where=f"xor/{name}")
    with inside(f"xor/{name}"):
        return common ^ from_gaps(packed, size=common.size).reshape(common.shape)


def layer_channels(sites: Sites, layer: str) -> Channels:
    """Return the channel numbers of a layer's rows.

    Raises:
        DecomposeError: no site is made by such a layer.
    """
    for use in sites.arrays:
        if use.array == layer and use.role == "row":
            return use.channels
    raise DecomposeError(f"the network has no layer {layer!r}")


def _affine_maps(delta: Delta, network: Network, sites: Sites, kept: Mapping[str, Channels]) -> dict[str, Affine]:
    scales, offsets = delta.under("scale/"), delta.under("offset/")
    if set(scales) != set(offsets):
        alone = min(set(scales) ^ set(offsets))
        raise FormatError("has a scale without an offset, or the other way round", where=alone)
    flags = sites.flags(kept)
    return {
        layer: _affine(layer, scales[layer], offsets[layer], flags[layer_channels(sites, layer)], network)
        for layer in scales
    }


def _affine(layer: str, scales: Array, offsets: Array, rows: Flags, network: Network) -> Affine:
    width = int(rows.sum())
    if scales.shape != (width,) or offsets.shape != (width,):
        problem = f"has {len(scales)} scales and {len(offsets)} offsets for {width} kept channels"
        raise FormatError(problem, where=layer)
    if not all(_has_bias(node, network) for node in network.nodes if layer in node.inputs[1:2]):
        raise FormatError("is scaled but has no bias to put the offset in", where=layer)
    scale, offset = np.ones(len(rows), dtype=np.float32), np.zeros(len(rows), dtype=np.float32)
    scale[rows], offset[rows] = scales, offsets
    return Affine(scale=scale, offset=offset)


def _has_bias(node: Node, network: Network) -> bool:
    bias = network.arrays.get(node.inputs[2]) if len(node.inputs) > 2 else None
    return bias is not None and bias.shape == network.arrays[node.inputs[1]].shape[:1]


def _head(delta: Delta, network: Network) -> Head:
    if delta.head == "own":
        return OwnHead()
    arrays = delta.under("head/")
    if set(arrays) != set(HEAD_ARRAYS):
        raise FormatError(f"needs the arrays {', '.join(HEAD_ARRAYS)}", where="head")
    first, first_bias, second, second_bias = (arrays[name].astype(np.float32) for name in HEAD_ARRAYS)
    shapes = [array.shape for array in (first, first_bias, second, second_bias)]
    hidden = shapes[1][0] if shapes[1] else 0
    if shapes != [(hidden, network.output_shape[-1]), (hidden,), (1, hidden), (1,)]:
        raise FormatError(f"has the shapes {shapes} for {network.output_shape[-1]} logits", where="head")
    return MlpHead(first=first, first_bias=first_bias, second=second, second_bias=second_bias)
