"""Gradients through the torch engine, against finite differences in double precision."""

from __future__ import annotations

import pytest
import torch

from modhub.engines.torch_engine import to_torch
from tests.support.networks import inputs_for
from tests.support.nodes import SINGLE_NODES


@pytest.mark.parametrize("name", SINGLE_NODES)
def test_gradients_equal_finite_differences(name: str) -> None:
    network = SINGLE_NODES[name]()
    net = to_torch(network, trainable=True).double()
    x = (torch.from_numpy(inputs_for(network, batch=1)).double() + 0.1).requires_grad_()
    arrays = [a for a in network.arrays if net.array(a).requires_grad and net.array(a).numel()]

    def compute(value: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
        return net.run({net.input: value, **dict(zip(arrays, tensors, strict=True))})

    assert torch.autograd.gradcheck(compute, (x, *(net.array(a).detach().clone().requires_grad_() for a in arrays)))
