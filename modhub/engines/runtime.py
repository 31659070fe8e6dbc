"""Networks in ONNX Runtime, from bytes only.

ONNX Runtime never opens a file for modhub: it is handed the graph and the weights as bytes, read and verified by
whoever calls. Links in caches and paths in graphs therefore cannot matter.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import numpy as np

from modhub.engines.foreign import first_line
from modhub.errors import InvalidData, InvalidNetwork
from modhub.network.onnx_file import WEIGHTS_FILE, is_inline, to_onnx

if TYPE_CHECKING:
    from types import ModuleType

    import numpy.typing as npt
    import onnxruntime as ort

    from modhub.network.network import Array, Network

    Floats = npt.NDArray[np.float32]

BATCH_SIZE = 256
"""Rows per call: as fast as larger batches, and the activations of a wide network still fit into memory."""

SILENT = 4
"""Log only what is fatal: errors are raised, and warnings repeat the names in a stranger's file, escapes included."""


class Session:
    """A network ready to run.

    Args:
        network: what to run.
        threads: how many threads share one call; None for one per core.

    Raises:
        InvalidNetwork: ONNX Runtime cannot run the network.
    """

    def __init__(self, network: Network, *, threads: int | None = 1) -> None:
        self.port = network.input
        self._output_shape = network.output_shape
        self._session = _open(network, threads=threads)

    def run(self, x: Array, *, batch_size: int = BATCH_SIZE) -> Floats:
        """Return the network's output ``[n, k]`` for inputs ``[n, ...]``, computed `batch_size` rows at a time.

        Raises:
            InvalidData: the inputs have another type or shape than the network's contract says.
            InvalidNetwork: the network fails on them.
        """
        rows = self._checked(x)
        if not len(rows):
            return np.empty((0, *(int(size) for size in self._output_shape[1:])), dtype=np.float32)
        starts = range(0, len(rows), max(1, batch_size))
        return np.concatenate([self._call(rows[start : start + starts.step]) for start in starts])

    def _checked(self, x: Array) -> Array:
        expected, size = np.dtype(self.port.dtype), tuple(self.port.shape[1:])
        # Bytes are refused rather than converted: an image from 0 to 255 gives wrong answers without any error.
        if x.dtype.kind != expected.kind or x.shape[1:] != size or x.ndim != len(size) + 1:
            found = f"{x.dtype} of shape {list(x.shape)}"
            raise InvalidData(f"the network takes {expected} of shape {list(self.port.shape)}, got {found}")
        return np.ascontiguousarray(x, dtype=expected)

    def _call(self, rows: Array) -> Floats:
        try:
            (scores,) = self._session.run(None, {self.port.name: rows})
        except Exception as error:  # ONNX Runtime's errors have no common base class.
            raise InvalidNetwork(f"ONNX Runtime cannot compute it: {first_line(error)}") from error
        return np.asarray(scores)


def _open(network: Network, *, threads: int | None) -> ort.InferenceSession:
    ort = onnx_runtime()
    graph, weights = to_onnx(network)
    options = session_options(threads=threads)
    if any(not is_inline(array) for array in network.arrays.values()):
        options.add_external_initializers_from_files_in_memory([WEIGHTS_FILE], [weights], [len(weights)])
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class.
        raise InvalidNetwork(f"ONNX Runtime cannot open it: {first_line(error)}") from error


def onnx_runtime() -> ModuleType:
    """Return the library, told before it is imported to report to nobody.

    From its import on it otherwise keeps a number of the device and a database of events, meant for its makers, in the
    user's folder; its own function to switch that off comes too late.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return cast("ModuleType", onnxruntime)


def session_options(*, threads: int | None) -> ort.SessionOptions:
    """Return options under which ONNX Runtime is silent and reads nothing but ONNX."""
    options = onnx_runtime().SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # Planned blocks of memory lie beside what the first run took, a third more for a hundredth of the time.
    options.enable_mem_pattern = False
    # Without this it looks at the bytes and may take them for a second format, its own.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options
