"""The golden pair: a fixed input and the scores that a network gave for it, to be checked wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from modhub.engines.runtime import Session
from modhub.errors import ComposeError, FormatError
from modhub.package.safetensors_reader import read_arrays, read_header

if TYPE_CHECKING:
    from modhub.network.network import Array, Network
    from modhub.package.package import Package
    from modhub.spec.ports import InputPort

GOLDEN_FILE = "golden.safetensors"
INPUT, SCORES = "input", "scores"
SAMPLES = 4
SEED = 20_261_121
TOLERANCE = 1e-4
"""Largest difference of a score between machines; on one machine a composite gives the bits of its modules."""

INT8_TOLERANCE = 0.25
"""The same where values are rounded to eight bits: one that lies between two steps may go either way."""

NAMED_AXIS = 8
"""Length in the golden input of an axis that may have any."""


class Runs(Protocol):
    """A network opened somewhere, such as `modhub.engines.torch_session.TorchSession`."""

    def run(self, x: Array) -> Array:
        """Return the scores of inputs."""
        ...


def golden_input(port: InputPort, *, samples: int = SAMPLES) -> Array:
    """Return fixed pseudo-random inputs for a contract, the same on every machine."""
    shape = [samples, *(size if isinstance(size, int) else NAMED_AXIS for size in port.shape[1:])]
    stream = np.random.PCG64(SEED).random_raw(int(np.prod(shape))).reshape(shape)
    if port.dtype == "int64":
        return (stream % np.uint64(port.vocabulary or 2)).astype(np.int64)
    low, high = port.range or (-1.0, 1.0)
    unit = (stream >> np.uint64(40)).astype(np.float64) / 2**24
    return (low + (high - low) * unit).astype(np.float32)


def record_golden(network: Network, *, samples: int = SAMPLES) -> dict[str, Array]:
    """Return the golden input and the scores that a network gives for it."""
    x = golden_input(network.input, samples=samples)
    return {INPUT: x, SCORES: Session(network).run(x)}


def replay(package: Package, network: Network, *, file: str = GOLDEN_FILE, session: Runs | None = None) -> None:
    """Run a package's golden input again, here.

    Args:
        package: a composite, or whatever else has a golden pair.
        network: what the package computes.
        file: where the pair lies.
        session: the network, opened; in ONNX Runtime where none is given.

    Raises:
        FormatError: the package has no golden pair, or one that does not fit.
        ComposeError: the scores differ from those recorded.
    """
    x, expected = _read(package, file)
    found = (session or Session(network)).run(x)
    if found.shape != expected.shape:
        problem = f"holds scores of shape {list(expected.shape)}, the network gives {list(found.shape)}"
        raise FormatError(problem, file=file)
    difference = largest_difference(found, expected)
    if not difference <= tolerance_of(network):
        raise ComposeError(f"{package.name} {package.version} scores {difference:.2g} differently than recorded")


def tolerance_of(network: Network) -> float:
    """Return how far a network's scores may differ between machines."""
    return INT8_TOLERANCE if is_rounded(network) else TOLERANCE


def is_rounded(network: Network) -> bool:
    """Tell whether a network computes in eight bits, somewhere."""
    return any(node.op == "QuantizeLinear" for node in network.nodes)


def largest_difference(found: Array, expected: Array) -> float:
    """Return by how much scores differ at most; not a number where one of them is none."""
    return float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0))


def _read(package: Package, file: str) -> tuple[Array, Array]:
    if file not in package.files:
        raise FormatError("is missing", file=file)
    data = package.data(file)
    try:
        arrays = read_arrays(data, read_header(data))
    except FormatError as error:
        raise error.in_file(file) from error
    if set(arrays) != {INPUT, SCORES}:
        raise FormatError(f"expected the arrays {INPUT!r} and {SCORES!r}, got {sorted(arrays)[:5]}", file=file)
    return arrays[INPUT], arrays[SCORES]
