"""`delta.safetensors`: a class module as masks over its base.

Arrays: ``keep/SITE`` (uint32, ascending channel numbers; a site that is absent is whole), ``scale/LAYER`` and
``offset/LAYER`` (float32, one number per kept channel of that layer), and for an MLP head ``head/first``,
``head/first.bias``, ``head/second``, ``head/second.bias``. One metadata entry, ``modhub``, holds JSON: the format, the
fingerprint of the base, the row of the parent's logits, the label and the head's kind.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.errors import DecomposeError, FormatError
from modhub.network.modules import Affine, ClassModule, MlpHead, OwnHead, check_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.modules import Head
    from modhub.network.network import Array, Network
    from modhub.network.sites import Sites
    from modhub.spec.ports import Calibration

FORMAT = "modhub/delta@1"
DELTA_FILE = "delta.safetensors"
HEAD_ARRAYS = ("first", "first.bias", "second", "second.bias")


def to_delta(network: Network, sites: Sites, module: ClassModule, *, base: str) -> bytes:
    """Return a module as the bytes of `delta.safetensors`; equal modules give equal bytes.

    Args:
        network: the base.
        sites: its sites.
        module: what to write; its calibration goes into the manifest instead.
        base: the base's fingerprint.
    """
    from safetensors.numpy import save

    check_module(network, sites, module)
    settled = sites.settle(module.kept)
    arrays: dict[str, Array] = {
        f"keep/{site}": channels.astype(np.uint32) for site, channels in settled.items() if len(channels) < sites[site].size
    }
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
    metadata = {"modhub": json.dumps(about, sort_keys=True)}
    return save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, metadata=metadata)


def from_delta(
    data: bytes, network: Network, sites: Sites, *, base: str, calibration: Calibration | None
) -> ClassModule:
    """Return the module that `to_delta` wrote.

    Raises:
        FormatError: the file is malformed, belongs to another base, or does not fit the base's sites.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        about = _about(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"cannot be read: {error}", file=DELTA_FILE) from error
    if about.get("format") != FORMAT:
        raise FormatError(f"expected {FORMAT!r}, got {about.get('format')!r}", where="format", file=DELTA_FILE)
    if about.get("base") != base:
        raise FormatError(f"was made for the base {about.get('base')!r}, not for {base!r}", where="base", file=DELTA_FILE)
    try:
        module = _module(arrays, about, sites, network, calibration)
        check_module(network, sites, module)
    except (DecomposeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise FormatError(f"does not fit its base: {error}", file=DELTA_FILE) from error
    return module


def layer_channels(sites: Sites, layer: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the channel numbers of a layer's rows.

    Raises:
        DecomposeError: no site is made by such a layer.
    """
    for use in sites.arrays:
        if use.array == layer and use.role == "row":
            return use.channels
    raise DecomposeError(f"the network has no layer {layer!r}")


def _about(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header["__metadata__"]["modhub"])
    if not isinstance(about, dict):
        raise FormatError("metadata is no object", file=DELTA_FILE)
    return about


def _module(
    arrays: Mapping[str, Array],
    about: Mapping[str, Any],
    sites: Sites,
    network: Network,
    calibration: Calibration | None,
) -> ClassModule:
    kept = {n.removeprefix("keep/"): a.astype(np.int64) for n, a in arrays.items() if n.startswith("keep/")}
    for site, channels in kept.items():
        if arrays[f"keep/{site}"].dtype != np.uint32 or channels.ndim != 1 or len(channels) > sites[site].size:
            raise FormatError(f"keep/{site} is not a list of at most {sites[site].size} uint32", file=DELTA_FILE)
    module = ClassModule(label=str(about["label"]), row=int(about["row"]), kept=kept, head=_head(arrays, about))
    check_module(network, sites, module)
    flags = sites.flags(kept)
    layers = [name.removeprefix("scale/") for name in arrays if name.startswith("scale/")]
    affine = {layer: _affine(arrays, layer, flags[layer_channels(sites, layer)]) for layer in layers}
    known = {f"keep/{s}" for s in kept} | {f"{p}/{n}" for n in layers for p in ("scale", "offset")}
    strange = set(arrays) - known - {f"head/{name}" for name in HEAD_ARRAYS}
    if strange:
        raise FormatError(f"holds unknown arrays {sorted(strange)[:5]}", file=DELTA_FILE)
    return ClassModule(
        label=module.label, row=module.row, kept=kept, affine=affine, head=module.head, calibration=calibration
    )


def _affine(arrays: Mapping[str, Array], layer: str, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> Affine:
    scale, offset = (np.full(len(rows), fill, dtype=np.float32) for fill in (1.0, 0.0))
    scale[rows] = arrays[f"scale/{layer}"]
    offset[rows] = arrays[f"offset/{layer}"]
    return Affine(scale=scale, offset=offset)


def _head(arrays: Mapping[str, Array], about: Mapping[str, Any]) -> Head:
    if about["head"] == "own":
        return OwnHead()
    if about["head"] != "mlp":
        raise FormatError(f"has an unknown head {about['head']!r}", where="head", file=DELTA_FILE)
    first, first_bias, second, second_bias = (arrays[f"head/{name}"].astype(np.float32) for name in HEAD_ARRAYS)
    return MlpHead(first=first, first_bias=first_bias, second=second, second_bias=second_bias)
