"""The golden pair: a fixed input and the scores that a composite gave for it, to be checked wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.engines.runtime import Session
from modhub.errors import ComposeError, FormatError
from modhub.package.safetensors_reader import read_arrays, read_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Array, Network
    from modhub.package.package import Package
    from modhub.spec.ports import InputPort

GOLDEN_FILE = "golden.safetensors"
INPUT, SCORES = "input", "scores"
SAMPLES = 4
SEED = 20_261_121
TOLERANCE = 1e-4
"""Largest difference of a score between machines; on one machine a composite gives the bits of its modules."""

NAMED_AXIS = 8
"""Length in the golden input of an axis that may have any."""


def golden_input(port: InputPort, *, samples: int = SAMPLES) -> Array:
    """Return fixed pseudo-random inputs for a contract, the same on every machine."""
    shape = [samples, *(size if isinstance(size, int) else NAMED_AXIS for size in port.shape[1:])]
    stream = np.random.PCG64(SEED).random_raw(int(np.prod(shape))).reshape(shape)
    if port.dtype == "int64":
        return (stream % np.uint64(port.vocabulary or 2)).astype(np.int64)
    low, high = port.range or (-1.0, 1.0)
    unit = (stream >> np.uint64(40)).astype(np.float64) / 2**24
    return (low + (high - low) * unit).astype(np.float32)


def check_golden(networks: Sequence[Network], joined: Network, *, labels: Sequence[str]) -> dict[str, Array]:
    """Return the golden input and scores of a composite, after comparing them with its modules run alone.

    Raises:
        ComposeError: a score differs from that of the module alone, or is not finite.
    """
    x = golden_input(joined.input)
    scores = Session(joined).run(x)
    column = 0
    for label, network in zip(labels, networks, strict=True):
        alone = Session(network).run(x)
        difference = _difference(scores[:, column : column + alone.shape[1]], alone)
        if not difference <= TOLERANCE:
            raise ComposeError(f"{label} scores {difference:.2g} differently inside the composite than alone")
        column += alone.shape[1]
    return {INPUT: x, SCORES: scores}


def record_golden(network: Network) -> dict[str, Array]:
    """Return the golden input and the scores that a network gives for it."""
    x = golden_input(network.input)
    return {INPUT: x, SCORES: Session(network).run(x)}


def replay(package: Package, network: Network) -> None:
    """Run a composite's golden input again, here.

    Raises:
        FormatError: the package has no golden pair, or one that does not fit.
        ComposeError: the scores differ from those recorded.
    """
    x, expected = _read(package)
    found = Session(network).run(x)
    if found.shape != expected.shape:
        problem = f"holds scores of shape {list(expected.shape)}, the network gives {list(found.shape)}"
        raise FormatError(problem, file=GOLDEN_FILE)
    difference = _difference(found, expected)
    if not difference <= TOLERANCE:
        raise ComposeError(f"{package.name} {package.version} scores {difference:.2g} differently than recorded")


def _difference(found: Array, expected: Array) -> float:
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0))


def _read(package: Package) -> tuple[Array, Array]:
    if GOLDEN_FILE not in package.files:
        raise FormatError("is missing", file=GOLDEN_FILE)
    data = package.files[GOLDEN_FILE]
    try:
        arrays = read_arrays(data, read_header(data))
    except FormatError as error:
        raise error.in_file(GOLDEN_FILE) from error
    if set(arrays) != {INPUT, SCORES}:
        raise FormatError(f"expected the arrays {INPUT!r} and {SCORES!r}, got {sorted(arrays)[:5]}", file=GOLDEN_FILE)
    return arrays[INPUT], arrays[SCORES]
