"""torch and ONNX Runtime give one answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from modhub.engines.operators.windows import Window
from modhub.engines.runtime import Session
from modhub.engines.torch_engine import to_torch
from modhub.network.load import load
from tests.support.networks import Builder, inputs_for, networks, perceptrons
from tests.support.shared import ABSENT, shared_models

if TYPE_CHECKING:
    from modhub.network.network import Network

TOLERANCE = 1e-4
NONE = [pytest.param(Path("none"), marks=pytest.mark.skip(reason=ABSENT))]
SAMPLES = sorted((Path(__file__).parents[1] / "data").glob("*.onnx"))
WINDOWED = ("Conv", "MaxPool", "AveragePool")


def check_agreement(network: Network, *, batch: int = 3) -> None:
    x = inputs_for(network, batch=batch)
    expected = Session(network).run(x)
    with torch.no_grad():
        answer = to_torch(network)(torch.from_numpy(x)).numpy()
    assert answer.dtype == expected.dtype
    np.testing.assert_allclose(answer, expected, rtol=TOLERANCE, atol=TOLERANCE)


@given(networks())
def test_on_image_classifiers(network: Network) -> None:
    check_agreement(network)


@given(perceptrons())
def test_on_perceptrons(network: Network) -> None:
    check_agreement(network)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_on_sample_models(path: Path) -> None:
    check_agreement(load(path), batch=8)


@pytest.mark.parametrize("path", shared_models() or NONE, ids=lambda path: path.stem)
def test_on_shared_models(path: Path) -> None:
    check_agreement(load(path), batch=8)


@st.composite
def windows(draw: st.DrawFn) -> Network:
    """Return networks of one convolution or pooling with any window that ONNX can describe."""
    axes = draw(st.integers(1, 2))
    builder = Builder(shape=(2, *draw(st.tuples(*[st.integers(3, 9)] * axes))))
    kernel = draw(st.tuples(*[st.integers(1, 4)] * axes))
    op = draw(st.sampled_from(WINDOWED))
    auto_pad = draw(st.sampled_from(("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": draw(st.tuples(*[st.integers(1, 3)] * axes)),
        "dilations": draw(st.tuples(*[st.integers(1, 2)] * axes)),
    }
    if auto_pad.startswith("SAME"):
        # Dilated windows are refused there; and of pooling windows that lie apart ONNX Runtime has its own reading.
        attributes.update(dilations=(1,) * axes)
        attributes.update(strides=(1,) * axes if op != "Conv" else attributes["strides"])
    if auto_pad == "NOTSET":
        attributes["pads"] = draw(st.tuples(*[st.integers(0, k - 1) for k in kernel * 2]))
        if op != "Conv":
            attributes["ceil_mode"] = draw(st.integers(0, 1))
    if op == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    weights = [builder.weight((3, 2, *kernel)), builder.bias(3)] if op == "Conv" else []
    output = builder.apply(op, builder.input, *weights, shape=(), auto_pad=auto_pad, **attributes)
    return builder.build(output).replace(output_shape=("batch", "c", *"hw"[:axes]))


@given(windows())
def test_on_any_window(network: Network) -> None:
    window = Window.of(network.nodes[0], network.nodes[0].ints("kernel_shape", ()))
    size = [int(length) for length in network.input.shape[2:]]
    padded = [length + sum(pads) for length, pads in zip(size, window.padding(size), strict=True)]
    # What becomes of a window that is larger than its padded input is not laid down.
    assume(all(reach <= length for reach, length in zip(window.reach, padded, strict=True)))
    check_agreement(network)


@st.composite
def recurrent_layers(draw: st.DrawFn) -> Network:
    """Return networks of one recurrent layer, `[batch, steps, features]` to `[batch, steps * directions * units]`."""
    steps, features, units = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    op, gates, functions = draw(st.sampled_from((("LSTM", 4, 3), ("GRU", 3, 2), ("RNN", 1, 1))))
    direction = draw(st.sampled_from(("forward", "reverse", "bidirectional")))
    directions = 2 if direction == "bidirectional" else 1
    builder = Builder(shape=(steps, features), seed=draw(st.integers(0, 99)))
    shapes: list[tuple[int, ...]] = [(gates * units, features), (gates * units, units)]
    if draw(st.booleans()):
        shapes.append((2 * gates * units,))
    weights = [builder.weight((directions, *shape)) for shape in shapes]
    attributes: dict[str, Any] = {"direction": direction, "hidden_size": units}
    if op == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        names = st.sampled_from(("Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "LeakyRelu", "Elu"))
        attributes["activations"] = draw(st.tuples(*[names] * functions * directions))
    sequence = builder.apply("Transpose", builder.input, perm=(1, 0, 2))
    states = builder.apply(op, sequence, *weights, shape=(), **attributes)
    rows = builder.apply("Transpose", states, perm=(2, 0, 1, 3))
    return builder.build(builder.apply("Flatten", rows, shape=(steps * directions * units,), axis=1))


@given(recurrent_layers())
def test_on_any_recurrent_layer(network: Network) -> None:
    check_agreement(network)
