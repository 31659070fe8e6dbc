"""`stem.safetensors` and `values.safetensors` of a base: the weights that its modules have in common.

The stem is what at least half of the modules keep. Modules say how their masks differ from it, which takes few bytes
where they share much. A base of form ``values`` ships the weights of the stem and no others: each module then brings
the rest of its own.

`stem.safetensors` holds ``bits/ARRAY`` as a delta does, `values.safetensors` ``kept/ARRAY`` (float32, the elements of
the stem in row-major order) for these arrays and ``whole/ARRAY`` for all others. One metadata entry of the first,
``modhub``, holds JSON: the format and the arrays' shapes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import FormatError
from modhub.network.onnx_file import is_inline
from modhub.package.gaps import to_gaps
from modhub.package.safetensors_reader import ABOUT, read_arrays, read_header, read_own
from modhub.spec import limits
from modhub.spec.digests import sha256
from modhub.spec.document import check_format, inside, list_of, natural, shown, table_of, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.fsops import Buffer
    from modhub.network.modules import ClassModule, Flags
    from modhub.network.network import Array, Network

FORMAT = "modhub/stem@1"
STEM_FILE, VALUES_FILE = "stem.safetensors", "values.safetensors"
BITS, KEPT, WHOLE = "bits/", "kept/", "whole/"


@dataclass(frozen=True, kw_only=True)
class Stem:
    """Which elements of which arrays are common to the modules of a base.

    `is_pruned` tells whether the base has no others. `digest` is that of the file, empty where there is none.
    """

    flags: Mapping[str, Flags] = field(default_factory=dict)
    digest: str = ""
    is_pruned: bool = False


NO_STEM = Stem()


def common_weights(network: Network, modules: Sequence[ClassModule]) -> dict[str, Flags]:
    """Return the elements that at least half of the modules keep, of each array that one of them masks."""
    names = sorted({name for module in modules for name in module.weights})
    return {
        name: _common(network.arrays[name].shape, [module.weights.get(name) for module in modules]) for name in names
    }


def _common(shape: tuple[int, ...], masks: Sequence[Flags | None]) -> Flags:
    count = np.zeros(shape, dtype=np.int64)
    for mask in masks:
        count += 1 if mask is None else mask
    return np.asarray(2 * count >= len(masks))


def pays(flags: Mapping[str, Flags], modules: Sequence[ClassModule]) -> bool:
    """Tell whether a stem saves more bytes of the modules' masks than it takes."""
    saved = -sum(-(-common.size // 8) for common in flags.values())
    for module in modules:
        for name, mask in module.weights.items():
            if not mask.all():
                saved += max(0, -(-mask.size // 8) - len(to_gaps((mask ^ flags[name]).reshape(-1))))
    return saved > 0


def to_stem(flags: Mapping[str, Flags]) -> bytes:
    """Return the bytes of `stem.safetensors`; equal stems give equal bytes."""
    from safetensors.numpy import save

    about = {"format": FORMAT, "shapes": {name: list(own.shape) for name, own in flags.items()}}
    arrays = {f"{BITS}{name}": np.packbits(own, bitorder="little") for name, own in flags.items()}
    return save(arrays, metadata={"modhub": json.dumps(about, sort_keys=True)})


def from_stem(data: Buffer, *, is_pruned: bool = False) -> Stem:
    """Return the stem that `to_stem` wrote.

    Raises:
        FormatError: the file is malformed, or its shapes do not fit its bits.
    """
    about, arrays = read_own(data, limit=limits.HEADER_BYTES)
    with inside(ABOUT):
        check_format(about.required("format", text), expected=FORMAT)
        shapes: dict[str, tuple[int, ...]] = about.required("shapes", table_of(list_of(natural)))
    if set(arrays) != {f"{BITS}{name}" for name in shapes}:
        raise FormatError("holds other arrays than it has shapes for", where=f"{ABOUT}.shapes")
    flags = {name: unpacked(arrays[f"{BITS}{name}"], shape, where=f"{BITS}{name}") for name, shape in shapes.items()}
    return Stem(flags=flags, digest=sha256(data), is_pruned=is_pruned)


def unpacked(packed: Array, shape: tuple[int, ...], *, where: str) -> Flags:
    """Return the flags of an array from packed bits.

    Raises:
        FormatError: there are more or fewer bits than the array has elements.
    """
    size = math.prod(shape)
    if len(shape) > limits.TENSOR_RANK:
        raise FormatError(f"has {len(shape)} dimensions, at most {limits.TENSOR_RANK} are allowed", where=where)
    if packed.dtype != np.uint8 or packed.ndim != 1 or len(packed) != -(-size // 8):
        raise FormatError(f"holds {packed.dtype} {list(packed.shape)} for {size} bits of an array", where=where)
    flags = np.unpackbits(packed, bitorder="little")
    if flags[size:].any():
        raise FormatError("has bits behind the last element", where=where)
    return flags[:size].astype(np.bool_).reshape(shape)


def pruned(network: Network, flags: Mapping[str, Flags]) -> Network:
    """Return a network with zeros for all weights outside the stem."""
    arrays = {name: np.where(own, network.arrays[name], np.float32(0)) for name, own in flags.items()}
    return network.replace(arrays={**network.arrays, **arrays})


def to_values(network: Network, flags: Mapping[str, Flags]) -> bytes:
    """Return the bytes of `values.safetensors`: the weights of a pruned network."""
    from safetensors.numpy import save

    weights = {name: array for name, array in network.arrays.items() if not is_inline(array)}
    arrays = {
        f"{KEPT}{name}" if name in flags else f"{WHOLE}{name}": array[flags[name]] if name in flags else array
        for name, array in weights.items()
    }
    return save({name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()})


def to_weights(values: Buffer, stem: Stem) -> bytes:
    """Return the bytes of the `weights.safetensors` that stem and values stand for.

    Raises:
        FormatError: the values are malformed or do not fit the stem.
    """
    from safetensors.numpy import save

    arrays = {}
    found = read_arrays(values, read_header(values))
    for name, array in found.items():
        kind, _, rest = name.partition("/")
        is_kept = f"{kind}/" == KEPT
        if (not is_kept and f"{kind}/" != WHOLE) or not rest or is_kept != (rest in stem.flags):
            raise FormatError("has no meaning beside this stem", where=name)
        arrays[rest] = scattered(array, stem.flags[rest], where=name) if is_kept else array
    missing = sorted(set(stem.flags) - set(arrays))
    if missing:
        raise FormatError(f"lacks the weights of {shown(missing[0])}", where="kept")
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def scattered(values: Array, flags: Flags, *, where: str) -> Array:
    """Return an array with values at its flags and zeros elsewhere.

    Raises:
        FormatError: there are more or fewer values than flags.
    """
    count = int(flags.sum())
    if values.dtype != np.float32 or values.shape != (count,):
        raise FormatError(f"holds {values.dtype} {list(values.shape)} for {count} weights", where=where)
    array = np.zeros(flags.shape, dtype=np.float32)
    array[flags] = values
    return array
