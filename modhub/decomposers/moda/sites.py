"""What MODA observes: the outputs of a network's activations, each reduced to one number per unit.

A function mode of torch sees every activation that runs during a forward pass of the observed network, whether a
module calls it or the forward function does, so any code works: no tracing, no renaming of layers. Activations that
an ONNX graph spells out as a product (SiLU, HardSwish) are seen at the node that ends them.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from modhub.engines.torch_engine import Operation, TorchNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch.utils.hooks import RemovableHandle

    from modhub.network.network import Node

    SitePredicate = Callable[[str, torch.nn.Module], bool]

NON_NEGATIVE: frozenset[object] = frozenset(
    {
        *(torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, functional.relu, functional.relu_),
        functional.relu6,
    }
)
"""Activations without negative outputs: their mean is their mean magnitude."""

ACTIVATIONS: frozenset[object] = NON_NEGATIVE | {
    *(functional.gelu, functional.silu, functional.mish, functional.hardswish),
    *(functional.leaky_relu, functional.leaky_relu_, functional.prelu, functional.rrelu, functional.threshold),
    *(functional.elu, functional.elu_, functional.celu, functional.selu, functional.softplus),
}
"""What counts as a site: rectifiers and their smooth relatives. Gates (sigmoid, tanh, softmax) do not."""

CONVOLUTIONS: frozenset[object] = frozenset(
    {
        *(functional.conv1d, functional.conv2d, functional.conv3d),
        *(functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d),
    }
)
PRODUCTS: frozenset[object] = frozenset(
    {functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.addmm, torch.bmm}
)
BOUNDED: frozenset[object] = frozenset({functional.hardtanh, functional.hardtanh_})
"""What `torch.nn.ReLU6` calls; rectifiers where their lower bound is zero."""

GATES = {"Sigmoid", "HardSigmoid"}


def reduced(value: torch.Tensor, *, axis: int, non_negative: bool = False) -> torch.Tensor:
    """Return the mean magnitude per sample and unit, float32 ``[batch, units]``.

    Args:
        value: an activation's output, the batch first.
        axis: where the units are.
        non_negative: whether no element is negative, which saves a pass over the activations.
    """
    others = [a for a in range(1, value.ndim) if a != axis % value.ndim]
    magnitude = value if non_negative else value.abs()
    if not others:
        return magnitude.float()
    # Divided behind the sum: the gradient of a sum is one number repeated, that of a mean a tensor as large as this.
    count = math.prod(value.shape[a] for a in others)
    return magnitude.sum(dim=others, dtype=torch.float32) / count


class Recorder:
    """Holds the reduced activations of the last forward pass of one network.

    Hooks are plain functions that check whom they belong to, so that a copy of the network made while it is observed is
    a network like any other, and unobserved.

    Args:
        net: the network to observe.
        sites: which of its modules to observe, by their outputs; None for every activation that runs.
    """

    def __init__(self, net: torch.nn.Module, *, sites: SitePredicate | None = None) -> None:
        self.net = net
        self.sites = sites
        self.rows: list[torch.Tensor] = []
        self._handles: list[RemovableHandle] = []
        self._modes: list[ActivationMode] = []

    def start(self) -> None:
        """Put the hooks in place."""
        own = weakref.ref(self.net)

        def before(module: torch.nn.Module, _: object) -> None:
            if module is own():
                self._begin()

        def after(module: torch.nn.Module, _: object, __: object) -> None:
            if module is own():
                self._end()

        self._handles.append(self.net.register_forward_pre_hook(before))
        # Also after an error, so that no mode is left behind.
        self._handles.append(self.net.register_forward_hook(after, always_call=True))
        for name, module in self.net.named_modules():
            if self.sites is not None and self.sites(name, module):
                self._watch(module)
            if self.sites is None and isinstance(module, TorchNetwork):
                for operation in spelled_out(module):
                    self._watch(operation)

    def stop(self) -> None:
        """Remove the hooks and forget what was seen."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        while self._modes:
            self._end()
        self.rows.clear()

    def _begin(self) -> None:
        self.rows.clear()
        mode = ActivationMode(self.rows, records=self.sites is None)
        mode.__enter__()  # type: ignore[no-untyped-call]
        self._modes.append(mode)

    def _end(self) -> None:
        if self._modes:
            self._modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _watch(self, watched: torch.nn.Module) -> None:
        own = weakref.ref(watched)

        def seen(module: torch.nn.Module, _: object, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output
            if module is own() and self._modes and isinstance(value, torch.Tensor) and value.is_floating_point():
                self.rows.append(reduced(value, axis=self._modes[-1].axis_of(value)))

        self._handles.append(watched.register_forward_hook(seen))


class ActivationMode(TorchFunctionMode):
    """Reduces the output of every activation while it is on.

    Where the units of a feature map are depends on the layer before: behind a convolution they are axis 1, behind a
    fully connected one they are the last axis.
    """

    def __init__(self, rows: list[torch.Tensor], *, records: bool) -> None:
        super().__init__()
        self.rows, self.records, self.axis = rows, records, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch; where it is an activation, remember its reduced output."""
        result = func(*args, **(kwargs or {}))
        if func in CONVOLUTIONS:
            self.axis = 1
        elif func in PRODUCTS:
            self.axis = -1
        elif self.records and (func in ACTIVATIONS or _is_rectifier(func, args, kwargs or {})) and result.ndim > 1:
            positive = func in NON_NEGATIVE or func in BOUNDED
            self.rows.append(reduced(result, axis=self.axis_of(result), non_negative=positive))
        return result

    def axis_of(self, value: torch.Tensor) -> int:
        """Return where a value's units are."""
        return self.axis or (-1 if value.ndim == 3 else 1)


def _is_rectifier(func: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a call holds its input between zero and something."""
    return func in BOUNDED and (args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)) == 0


def spelled_out(net: TorchNetwork) -> list[torch.nn.Module]:
    """Return the operations that end an activation written otherwise: ``x * sigmoid(x)``, ``clip(x, 0)``."""
    makers = {name: node for node in net.nodes for name in node.outputs}
    indices = [
        i
        for i, node in enumerate(net.nodes)
        if (node.op == "Mul" and _is_gated(node, makers)) or (node.op == "Clip" and _starts_at_zero(node, net))
    ]
    return [module for i in indices if isinstance(module := getattr(net, f"n{i}"), Operation)]


def _starts_at_zero(node: Node, net: TorchNetwork) -> bool:
    low = node.inputs[1] if len(node.inputs) > 1 else ""
    return bool(low) and not any(low in other.outputs for other in net.nodes) and float(net.array(low).detach()) == 0.0


def _is_gated(node: Node, makers: dict[str, Node]) -> bool:
    first, second = node.inputs
    for value, gate in ((first, second), (second, first)):
        maker = makers.get(gate)
        if maker is not None and maker.op in GATES and maker.inputs[0] == value:
            return True
    return False
