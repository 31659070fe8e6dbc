"""Modules in eight bits: a network of their own beside the one that their masks make, in the form ``int8``.

Rounding shares nothing with masks, so the form needs no base. Its scores are calibrated anew and measured: a manifest's
metrics of that form start with ``int8_``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.network.onnx_file import to_onnx
from modhub.package.graph_reader import read_graph
from modhub.package.safetensors_reader import read_arrays, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.network import Array, Network
    from modhub.package.package import Package
    from modhub.spec.manifest import Metric

INT8 = "int8"
INT8_GRAPH, INT8_WEIGHTS, INT8_GOLDEN = "int8.onnx", "int8.safetensors", "int8-golden.safetensors"
INT8_FILES = (INT8_GRAPH, INT8_WEIGHTS, INT8_GOLDEN)


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """A module in eight bits, with what was measured of it, and an input with the scores that it gave."""

    network: Network
    metrics: Mapping[str, Metric]
    golden: Mapping[str, Array]


def to_int8(quantised: Quantised) -> dict[str, bytes]:
    """Return the files of the form ``int8``."""
    from safetensors.numpy import save

    graph, weights = to_onnx(quantised.network, weights_file=INT8_WEIGHTS)
    return {INT8_GRAPH: graph, INT8_WEIGHTS: weights, INT8_GOLDEN: save(dict(quantised.golden))}


def read_int8(package: Package) -> Network:
    """Return what a package's form ``int8`` computes, read strictly.

    Raises:
        FormatError: a file is missing, or breaks a rule of the format.
    """
    for name in INT8_FILES:
        if name not in package.files:
            raise FormatError("is missing", file=name)
    weights = package.data(INT8_WEIGHTS)
    try:
        header = read_header(weights)
        arrays = read_arrays(weights, header)
    except FormatError as error:
        raise error.in_file(INT8_WEIGHTS) from error
    return read_graph(
        package.read(INT8_GRAPH), header, arrays, input_port=package.manifest.input, weights_file=INT8_WEIGHTS
    )
