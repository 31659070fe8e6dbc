"""Modules in eight bits: static quantisation by ONNX Runtime, scores calibrated anew.

Weights are rounded per output channel, values between layers per tensor, to the range that they take on samples.
Modules of one parent are shown the same samples, so what they share is rounded in the same way, stays equal, and still
runs once in a composite. The last layers stay as they are while they hold few weights: a score of 256 steps has ties.
"""

from __future__ import annotations

import dataclasses
import logging
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.engines.evaluation import columns_of
from modhub.engines.foreign import first_line
from modhub.engines.golden import record_golden
from modhub.engines.runtime import Session, onnx_runtime
from modhub.errors import DecomposeError, InvalidData
from modhub.metrics import detection, expected_calibration_error, fit_platt
from modhub.network.network import Node
from modhub.network.onnx_file import from_model, to_model
from modhub.network.passes.names import make_names_safe, rename
from modhub.network.slice import SCORE, sliced
from modhub.package.int8 import Quantised
from modhub.spec.manifest import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from modhub.datasets import Dataset
    from modhub.network.modules import ClassModule, Decomposition
    from modhub.network.network import Array, Network

SAMPLES = 256
"""Most samples that are shown; ranges hardly change with more."""
BATCH_SIZE = 64
KEPT_FLOAT = 0.05
"""Most of the weights that stay as they are, in the last layers."""
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
RAW = "raw"


def quantiser(
    decomposition: Decomposition, *, samples: Dataset, validation: Dataset
) -> Callable[[ClassModule], Quantised]:
    """Return what turns the modules of a decomposition into such of eight bits.

    Args:
        decomposition: the modules and their parent.
        samples: inputs of the kind that the modules will see; at most `SAMPLES` of them are shown.
        validation: held-out labelled data, to calibrate the scores and to measure.

    Raises:
        InvalidData: the data does not fit the parent, is empty, or has no labels.
    """
    parent = decomposition.parent
    shown = samples.fitted(parent.input).x[:SAMPLES]
    held_out = validation.fitted(parent.input)
    if held_out.y is None or not len(shown) or not len(held_out):
        raise InvalidData("quantising takes samples, and labelled ones to calibrate on", file=validation.name)
    x, of_module = held_out.x, columns_of(held_out, [module.label for module in decomposition.modules])
    position = {module.label: i for i, module in enumerate(decomposition.modules)}

    def quantise(module: ClassModule) -> Quantised:
        raw = sliced(parent, decomposition.sites, dataclasses.replace(module, calibration=None))
        network = quantised(raw, shown)
        score, is_class = Session(network).run(x)[:, 0], np.equal(of_module, position[module.label])
        return _calibrated(network, score, is_class, data=validation.name)

    return quantise


def _calibrated(
    network: Network, score: npt.NDArray[np.float32], is_class: npt.NDArray[np.bool_], *, data: str
) -> Quantised:
    """Return a module whose raw scores are calibrated, with what is known of it."""
    found = fit_platt(score, is_class, data=data)
    calibrated = found.scale * score + found.offset
    error = expected_calibration_error(calibrated, is_class)
    metrics = {
        **detection(calibrated, is_class, split="validation"),
        "calibration_error": Metric(value=round(error, 6), split="validation", n=len(score)),
    }
    whole = _scaled(network, scale=found.scale, offset=found.offset)
    return Quantised(
        network=whole,
        metrics={f"int8_{name}": metric for name, metric in metrics.items()},
        golden=record_golden(whole, samples=1),
    )


def _scaled(network: Network, *, scale: float, offset: float) -> Network:
    numbers = {"calibration/scale": scale, "calibration/offset": offset}
    arrays = {name: np.array([number], dtype=np.float32) for name, number in numbers.items()}
    middle = "calibration/scale.out"
    last = (
        Node(op="Mul", inputs=(RAW, "calibration/scale"), outputs=(middle,), attributes={}, name=middle),
        Node(op="Add", inputs=(middle, "calibration/offset"), outputs=(SCORE,), attributes={}, name=SCORE),
    )
    network = rename(network, {network.output: RAW})
    return network.replace(nodes=(*network.nodes, *last), arrays={**network.arrays, **arrays}, output=SCORE)


def quantised(network: Network, samples: Array) -> Network:
    """Return a network with weights and values of eight bits, between nodes that round and unround them.

    Args:
        network: what to quantise.
        samples: inputs ``[n, ...]`` that show which values occur.

    Raises:
        DecomposeError: ONNX Runtime cannot quantise it.
    """
    onnx_runtime()
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    spared = [node.name for node in network.nodes[_last_layers(network) :]]
    with TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                to_model(network),
                str(path),
                Samples(network.input.name, samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # Seven bits of weights: with eight, sums overflow on processors without instructions for them.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=spared,
            )
        except Exception as error:  # ONNX Runtime's errors have no common base class.
            raise DecomposeError(f"ONNX Runtime cannot quantise the network: {first_line(error)}") from error
        model = onnx.load(path)
    found = make_names_safe(from_model(model, external={}, input_port=network.input))
    return found.replace(output_shape=network.output_shape, metadata={})


def _last_layers(network: Network) -> int:
    """Return the number of the node from which on everything stays as it is."""
    weights = sum(array.size for _, array in network.weights())
    spared, first = 0, len(network.nodes)
    for i in reversed(range(len(network.nodes))):
        node = network.nodes[i]
        if node.op in LAYERS:
            spared += sum(network.arrays[name].size for name in node.inputs if name in network.arrays)
            if spared > KEPT_FLOAT * weights:
                break
            first = i
    return first


class Samples:
    """Samples as ONNX Runtime asks for them: one batch after another, then None."""

    def __init__(self, name: str, samples: Array) -> None:
        self._batches = iter([samples[i : i + BATCH_SIZE] for i in range(0, len(samples), BATCH_SIZE)])
        self._name = name

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch by the name of the input."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from advising in the log to prepare the model: it is prepared."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
