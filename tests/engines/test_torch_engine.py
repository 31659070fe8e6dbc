from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modhub.engines.torch_engine import TorchNetwork, supported_operators, to_torch
from modhub.errors import InvalidNetwork, UnsupportedOperator, UsageError
from tests.support.networks import Builder, inputs_for, networks
from tests.support.nodes import SINGLE_NODES

if TYPE_CHECKING:
    from modhub.network.network import Network


def residual_network() -> Network:
    """Nodes: conv0 relu1 conv2 add3 relu4 flatten5 gemm6."""
    builder = Builder(shape=(3, 5, 5))
    stem = builder.relu(builder.conv(builder.input, 4))
    value = builder.relu(builder.add(builder.conv(stem, 4), stem))
    return builder.build(builder.gemm(builder.flatten(value), 6))


def rows(network: Network, *, batch: int = 3) -> torch.Tensor:
    return torch.from_numpy(inputs_for(network, batch=batch))


class TestRunning:
    @given(network=networks(), data=st.data())
    def test_a_network_can_be_cut_at_any_single_value(self, network: Network, data: st.DataObject) -> None:
        net, x = to_torch(network), rows(network)
        stem = network.nodes[data.draw(st.integers(0, 1))].outputs[0]
        features = net.run({net.input: x}, stop=stem)
        torch.testing.assert_close(net.run({stem: features}), net(x))

    def test_several_values_come_from_one_pass(self) -> None:
        net = to_torch(residual_network())
        x = rows(residual_network())
        found = net.evaluate({net.input: x}, wanted=("relu1", "gemm6", "array0"))
        assert list(found) == ["relu1", "gemm6", "array0"]
        assert torch.equal(found["gemm6"], net(x))
        assert found["array0"] is net.array("array0")

    def test_nodes_that_nothing_needs_do_not_run(self) -> None:
        net = to_torch(residual_network())
        ran: list[str] = []
        for name, part in net.named_children():
            part.register_forward_hook(lambda *_, name=name: ran.append(name))
        net.run({"add3": torch.zeros(1, 4, 5, 5)}, stop="flatten5")
        assert ran == ["n4", "n5"]

    def test_an_array_can_be_replaced_for_one_run(self) -> None:
        net = to_torch(residual_network())
        x = rows(residual_network())
        bias = net.array("array5")
        torch.testing.assert_close(net.run({net.input: x, "array5": bias + 1}), net(x) + 1)

    @pytest.mark.parametrize("name", SINGLE_NODES)
    def test_everything_moves_to_another_device_but_sizes(self, name: str) -> None:
        # The device "meta" computes shapes only: whatever stayed behind, or had to be read from there, fails.
        network = SINGLE_NODES[name]()
        net, x = to_torch(network), rows(network)
        assert net.to("meta")(x.to("meta")).shape == to_torch(network)(x).shape

    def test_inputs_are_left_as_they_are(self) -> None:
        network = residual_network()
        x = rows(network) - 0.5
        before = x.clone()
        to_torch(network)(x)
        assert torch.equal(x, before)


class TestGates:
    def test_a_gate_at_an_input_concerns_one_consumer(self) -> None:
        net = to_torch(residual_network())
        x = rows(residual_network())
        closed = net.run({net.input: x}, stop="add3", on_input={(3, 0): torch.zeros_like})
        assert torch.equal(closed, net.run({net.input: x}, stop="relu1"))

    def test_a_gate_at_an_output_concerns_every_consumer(self) -> None:
        net = to_torch(residual_network())
        x = rows(residual_network())
        doubled = net.run({net.input: x}, stop="add3", on_output={1: lambda value: 2 * value})
        stem = 2 * net.run({net.input: x}, stop="relu1")
        torch.testing.assert_close(doubled, net.run({"relu1": stem}, stop="add3"))

    def test_a_weight_can_be_masked_and_the_mask_has_a_gradient(self) -> None:
        network = residual_network()
        net = to_torch(network)
        mask = torch.ones(4, 1, 1, 1, requires_grad=True)
        scores = net.run({net.input: rows(network)}, on_input={(2, 1): lambda weight: weight * mask})
        (gradient,) = torch.autograd.grad(scores.square().sum(), mask)
        assert gradient.abs().min() > 0

    def test_a_masked_channel_equals_a_network_without_it(self) -> None:
        network = residual_network()
        net, x = to_torch(network), rows(network)
        mask = torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(1, 4, 1, 1)
        masked = net.run({net.input: x}, on_input={(2, 0): lambda value: value * mask})
        weight = network.arrays["array2"].copy()
        weight[:, [1, 3]] = 0
        other = to_torch(network.replace(arrays={**network.arrays, "array2": weight}))
        torch.testing.assert_close(masked, other(x))

    def test_more_rows_may_come_out_of_a_gate_than_went_in(self) -> None:
        network = residual_network()
        net, x = to_torch(network), rows(network)
        repeat = {(5, 0): lambda value: value.repeat(2, 1, 1, 1)}
        torch.testing.assert_close(net.run({net.input: x}, on_input=repeat), net(x).repeat(2, 1))


class TestLearning:
    def test_arrays_are_frozen_unless_asked_for(self) -> None:
        network = residual_network()
        assert not any(p.requires_grad for p in to_torch(network).parameters())
        assert all(p.requires_grad for p in to_torch(network, trainable=True).parameters())

    def test_training_lowers_the_loss_and_the_arrays_can_be_taken_back(self) -> None:
        network = residual_network()
        net, x = to_torch(network, trainable=True), rows(network, batch=16)
        target = torch.arange(16) % 6
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        losses = []
        for _ in range(20):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), target)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]
        trained = network.replace(arrays=net.arrays())
        torch.testing.assert_close(to_torch(trained)(x), net(x).detach())

    def test_a_copy_learns_by_itself(self) -> None:
        network = residual_network()
        net, x = to_torch(network, trainable=True), rows(network)
        twin = copy.deepcopy(net)
        before = net(x).detach()
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.equal(net(x), before)
        assert twin(x).abs().max() == 0

    def test_a_state_can_be_saved_and_loaded(self) -> None:
        network = residual_network()
        net = to_torch(network)
        other = to_torch(network.replace(arrays={name: 0 * array for name, array in network.arrays.items()}))
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(rows(network)), net(rows(network)))

    def test_precision_can_be_changed(self) -> None:
        network = residual_network()
        net = to_torch(network).double()
        answer = net(rows(network).double())
        assert answer.dtype == torch.float64
        torch.testing.assert_close(answer.float(), to_torch(network)(rows(network)))


HOSTILE = (
    'x"); raise SystemExit("',
    "__class__",
    "forward",
    "n0",
    "a0",
    "training",
    "nodes",
    "é\n",
    "a.b/c:d",
    "_plans",
)


class TestNames:
    def test_names_of_a_file_reach_no_attribute_of_torch(self) -> None:
        network = residual_network()
        names = {name: f"{HOSTILE[i % len(HOSTILE)]}{i // len(HOSTILE)}" for i, name in enumerate(_all_names(network))}
        net, plain = to_torch(renamed(network, names)), to_torch(network)
        assert set(net.state_dict()) == set(plain.state_dict()) == {f"a{i}" for i in range(6)}
        assert {name for name, _ in net.named_children()} == {f"n{i}" for i in range(7)}
        assert set(vars(net)) == set(vars(plain))
        assert torch.equal(net(rows(network)), plain(rows(network)))

    def test_a_node_may_be_called_like_a_method(self) -> None:
        network = residual_network()
        names = dict(zip(_all_names(network), HOSTILE, strict=False))
        net = to_torch(renamed(network, names))
        assert torch.equal(net(rows(network)), to_torch(network)(rows(network)))


def _all_names(network: Network) -> list[str]:
    return [*network.arrays, network.input.name, *network.producers()]


def renamed(network: Network, names: dict[str, str]) -> Network:
    # A port refuses such names; they stand for a reader with a hole.
    port = copy.copy(network.input)
    object.__setattr__(port, "name", names.get(port.name, port.name))

    def known(given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in given)

    return network.replace(
        nodes=tuple(replace(n, inputs=known(n.inputs), outputs=known(n.outputs), name=n.op) for n in network.nodes),
        arrays={names.get(name, name): array for name, array in network.arrays.items()},
        input=port,
        output=names.get(network.output, network.output),
    )


class TestErrors:
    def test_an_unknown_operator_is_refused_with_the_ones_that_are_known(self) -> None:
        builder = Builder(shape=(4,))
        network = builder.build(builder.apply("NonMaxSuppression", builder.input))
        with pytest.raises(UnsupportedOperator) as caught:
            to_torch(network)
        assert "NonMaxSuppression node 'nonmaxsuppression0'" in str(caught.value)
        assert all(operator in str(caught.value) for operator in supported_operators())

    @pytest.mark.parametrize(
        ("op", "attributes", "problem"),
        [
            ("LSTM", {"clip": 3.0}, "it sets 'clip'"),
            ("GRU", {"activations": ("Sigmoid", "Sine")}, "its activation 'sine' is unknown"),
            ("Resize", {"antialias": 1}, "antialias"),
            ("Resize", {"mode": "lanczos"}, "its mode is 'lanczos', torch can follow cubic, linear, nearest"),
            ("Pad", {"mode": "mirror"}, "its mode is 'mirror', torch can follow constant, edge"),
            ("BatchNormalization", {"training_mode": 1}, "it is in training mode"),
            ("Cast", {"to": 8}, "it converts to element type 8"),
            ("Conv", {"auto_pad": "SAME_UPPER", "dilations": (2, 2)}, "dilated and padded by SAME_UPPER"),
            ("Constant", {"value_string": "text"}, "it has none of the attributes"),
        ],
    )
    def test_a_known_operator_used_in_an_unknown_way_is_refused(
        self, op: str, attributes: dict[str, Any], problem: str
    ) -> None:
        builder = Builder(shape=(2, 4, 4))
        network = builder.build(builder.apply(op, builder.input, **attributes))
        with pytest.raises(UnsupportedOperator, match=problem):
            to_torch(network)

    @pytest.mark.parametrize(
        ("op", "attributes"),
        [
            ("LSTM", {"direction": "sideways"}),
            ("MaxPool", {}),
            ("Softmax", {"axis": "first"}),
            ("MaxPool", {"pads": (1,)}),
        ],
    )
    def test_attributes_that_mean_nothing_are_refused(self, op: str, attributes: dict[str, Any]) -> None:
        builder = Builder(shape=(2, 4, 4))
        network = builder.build(builder.apply(op, builder.input, **attributes))
        with pytest.raises(InvalidNetwork, match=f"{op} node '{op.lower()}0' has attributes that mean nothing"):
            to_torch(network)

    def test_a_shape_that_does_not_fit_names_the_node_and_the_shapes(self) -> None:
        net = to_torch(residual_network())
        with pytest.raises(InvalidNetwork, match=r"Conv node 'conv0' cannot take operands of shapes \[1, 2, 5, 5\]"):
            net(torch.zeros(1, 2, 5, 5))

    @pytest.mark.parametrize(("start", "stop"), [("nothing", "gemm6"), ("image", "nothing")])
    def test_an_unknown_value_is_refused(self, start: str, stop: str) -> None:
        net = to_torch(residual_network())
        with pytest.raises(UsageError, match="the network has no value 'nothing'"):
            net.run({start: torch.zeros(1, 3, 5, 5)}, stop=stop)

    def test_a_value_too_few_is_named(self) -> None:
        net: TorchNetwork = to_torch(residual_network())
        with pytest.raises(UsageError, match="'add3' cannot be computed from 'conv2': 'image' is missing"):
            net.run({"conv2": torch.zeros(1, 4, 5, 5)}, stop="add3")

    def test_an_array_of_a_type_that_torch_lacks_is_refused(self) -> None:
        network = residual_network()
        odd = np.array(["text"], dtype=np.object_)
        with pytest.raises(InvalidNetwork, match="array 'odd' holds object, which torch cannot represent"):
            to_torch(network.replace(arrays={**network.arrays, "odd": odd}))
