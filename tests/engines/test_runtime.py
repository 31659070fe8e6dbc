from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modhub.engines.runtime import Session
from modhub.errors import InvalidData, InvalidNetwork
from modhub.network.onnx_file import WEIGHTS_FILE
from tests.support.networks import Builder, inputs_for, networks
from tests.support.optimised import optimised_convolutions, optimised_nodes

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.network.network import Network


def small_network() -> Network:
    builder = Builder(shape=(3, 6, 6))
    value = builder.relu(builder.conv(builder.input, 4))
    return builder.build(builder.gemm(builder.flatten(value), 5))


@given(network=networks(), size=st.integers(1, 9))
def test_the_batch_size_does_not_change_the_answer(network: Network, size: int) -> None:
    x = inputs_for(network, batch=7)
    session = Session(network)
    np.testing.assert_allclose(session.run(x, batch_size=size), session.run(x), rtol=1e-5, atol=1e-5)


def test_no_rows_have_no_scores() -> None:
    assert Session(small_network()).run(np.zeros((0, 3, 6, 6), np.float32)).shape == (0, 5)


def test_all_cores_give_the_same_answer_as_one() -> None:
    network = small_network()
    x = inputs_for(network)
    np.testing.assert_allclose(Session(network, threads=None).run(x), Session(network).run(x), rtol=1e-5, atol=1e-5)


def test_double_precision_is_taken_and_bytes_are_not() -> None:
    network = small_network()
    x = inputs_for(network)
    session = Session(network)
    assert np.array_equal(session.run(x.astype(np.float64)), session.run(x))
    with pytest.raises(InvalidData, match=r"takes float32 .* got uint8 of shape \[3, 3, 6, 6\]"):
        session.run(x.astype(np.uint8))


@pytest.mark.parametrize("shape", [(3, 6, 6), (1, 3, 6, 5), (1, 6, 6, 3), (), (1, 1, 3, 6, 6)])
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidData, match=r"\['batch', 3, 6, 6\], got float32 of shape"):
        Session(small_network()).run(np.zeros(shape, np.float32))


def test_a_network_without_weights_runs() -> None:
    builder = Builder(shape=(4,))
    x = np.array([[-1, 0, 1, 2]], np.float32)
    assert Session(builder.build(builder.relu(builder.input))).run(x).tolist() == [[0, 0, 1, 2]]


def test_what_cannot_run_is_named_without_control_characters() -> None:
    builder = Builder(shape=(4,))
    attributes: dict[str, Any] = {"bell\x1b[31m": 1}
    output = builder.apply("Nonsense", builder.input, **attributes)
    with pytest.raises(InvalidNetwork, match="ONNX Runtime cannot open it") as caught:
        Session(builder.build(output))
    assert str(caught.value).isprintable()


def test_a_failure_while_running_is_translated() -> None:
    builder = Builder(shape=(4,))
    indices = builder.array(np.array([9]))
    network = builder.build(builder.apply("Gather", builder.input, indices, axis=1, shape=(1,)))
    with pytest.raises(InvalidNetwork, match="ONNX Runtime cannot compute it"):
        Session(network).run(np.zeros((1, 4), np.float32))


def test_no_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    expected = Session(network).run(inputs_for(network))
    (tmp_path / WEIGHTS_FILE).write_bytes(bytes(10_000))
    monkeypatch.chdir(tmp_path)
    opened: list[Any] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open":
            opened.append(arguments[0])

    sys.addaudithook(watch)
    scores = Session(network).run(inputs_for(network))
    watching = False
    assert np.array_equal(scores, expected)
    assert opened == []


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    network = small_network()
    unused = {f"unused\x1b[31m{i}": np.ones(3, np.float32) for i in range(3)}
    Session(network.replace(arrays={**network.arrays, **unused})).run(inputs_for(network))
    assert capfd.readouterr() == ("", "")


def test_equal_layers_are_run_once() -> None:
    builder = Builder(shape=(3, 6, 6))
    first = builder.conv(builder.input, 4)
    weights = builder.nodes[0].inputs[1:]
    second = builder.apply("Conv", builder.input, *weights, shape=(4, 6, 6), **dict(builder.nodes[0].attributes))
    network = builder.build(builder.concat(builder.relu(first), builder.max_pool(second, kernel=1, stride=1)))
    assert optimised_convolutions(network) == 1
    assert optimised_nodes(network)["Concat"] == 1
