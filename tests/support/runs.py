"""Running networks in plain ONNX Runtime, without modhub's own engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime

from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx

if TYPE_CHECKING:
    from modhub.network.network import Array, Network

QUIET = 3


def run_plainly(network: Network, x: Array) -> Array:
    """Return the output of a network for some inputs."""
    graph, weights = to_onnx(network)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    options.add_external_initializers_from_files_in_memory([WEIGHTS_FILE], [weights], [len(weights)])
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    result: Array = session.run(None, {network.input.name: x})[0]
    return result
