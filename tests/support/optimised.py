"""What is left of a network after ONNX Runtime's own optimisation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import onnx
import onnxruntime

from modhub.engines.runtime import session_options
from modhub.network.onnx_file import to_model

if TYPE_CHECKING:
    from modhub.network.network import Network

CONVOLUTIONS = ("Conv", "FusedConv")


def optimised_nodes(network: Network) -> Counter[str]:
    """Return how many nodes of each operator ONNX Runtime runs, with its hardware-independent optimisations on.

    Fused operators count under their own names, such as ``FusedConv``.
    """
    options = session_options(threads=1)
    # One level below the highest: the last one rewrites convolutions for the processor at hand.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(to_model(network).SerializeToString(), options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(path).graph.node)


def optimised_convolutions(network: Network) -> int:
    """Return how many convolutions ONNX Runtime runs, fused with what follows them or not."""
    nodes = optimised_nodes(network)
    return sum(nodes[name] for name in CONVOLUTIONS)
