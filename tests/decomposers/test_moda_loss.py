"""The modularity loss: its formulas, its gradient, and that it disturbs nothing."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu, relu

from modhub.decomposers.moda import ModularityLoss
from modhub.decomposers.moda.loss import modularity_terms
from modhub.engines.torch_engine import to_torch
from modhub.errors import UsageError
from modhub.network.load import load
from tests.support.torch_models import exported, torch_inputs, torch_model

if TYPE_CHECKING:
    from pathlib import Path

LABELS = torch.tensor([0, 0, 0, 1, 1, 1])


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 6), nn.SiLU(), nn.Linear(6, 2)
    )


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_terms_are_those_of_the_paper() -> None:
    # Worked out by hand: unit rows (1,0), (.6,.8), (0,1), of the classes 0, 0, 1; and a layer where all is alike.
    rows = [torch.tensor([[2.0, 0.0], [3.0, 4.0], [0.0, 5.0]]), torch.ones(3, 1)]
    found = modularity_terms(rows, torch.tensor([0, 0, 1])).numbers()
    assert found["affinity"] == pytest.approx(1 - (0.6 + 1) / 2)
    assert found["dispersion"] == pytest.approx(((0 + 0.8) / 2 + 1) / 2)
    assert found["compactness"] == pytest.approx((14 / 6 + 1) / 2)


@pytest.mark.parametrize(("labels", "empty"), [([0, 1, 2], "affinity"), ([4, 4, 4], "dispersion")])
def test_no_pairs_count_as_nothing(labels: list[int], empty: str) -> None:
    rows = [torch.rand(3, 5, requires_grad=True)]
    terms = modularity_terms(rows, torch.tensor(labels))
    assert terms.numbers()[empty] == 0.0
    (terms.affinity + terms.dispersion).backward()  # type: ignore[no-untyped-call]
    assert rows[0].grad is not None
    assert rows[0].grad.isfinite().all()


def test_a_sample_that_fires_nowhere_is_like_nothing_and_has_a_finite_gradient() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0]], requires_grad=True)
    terms = modularity_terms([rows], torch.tensor([0, 0, 1]))
    assert terms.numbers()["affinity"] == 1.0
    (terms.affinity + terms.dispersion + terms.compactness).backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    assert rows.grad.abs().max() < 10


def test_the_gradient_is_that_of_finite_differences() -> None:
    rows = [(0.1 + torch.rand(6, 3, dtype=torch.float64)).requires_grad_() for _ in range(2)]

    def loss(*layers: torch.Tensor) -> torch.Tensor:
        terms = modularity_terms(layers, LABELS)
        return terms.affinity + 2 * terms.dispersion + 0.3 * terms.compactness

    # The pair counts are float32; what is differentiated is not.
    assert torch.autograd.gradcheck(loss, rows)


def test_contrast_is_that_of_nemo() -> None:
    # Worked out by hand: unit rows (1,0), (.6,.8), (0,1), of the classes 0, 0, 1; at temperature 1.
    rows = [torch.tensor([[2.0, 0.0], [3.0, 4.0], [0.0, 5.0]])]
    found = modularity_terms(rows, torch.tensor([0, 0, 1]), temperature=1.0).numbers()
    e = math.exp
    sums = [(e(1) + e(0.6), e(0)), (e(1) + e(0.6), e(0.8)), (e(1), e(0) + e(0.8))]
    assert found["contrast"] == pytest.approx(sum(-math.log(same / (same + other)) for same, other in sums) / 3)


def test_contrast_may_take_the_place_of_affinity_and_dispersion() -> None:
    net = small_net()
    with ModularityLoss(net, alpha=0, beta=0, gamma=0.3, contrast=2.0) as modularity:
        net(images())
        loss = modularity(LABELS)
    assert modularity.last is not None
    numbers = modularity.last.numbers()
    assert float(loss.detach()) == pytest.approx(0.3 * numbers["compactness"] + 2 * numbers["contrast"])
    loss.backward()  # type: ignore[no-untyped-call]
    with ModularityLoss(net) as modularity:
        net(images())
        modularity(LABELS)
    assert modularity.last is not None
    assert "contrast" not in modularity.last.numbers()


def test_two_lines_in_any_loop_make_a_network_modular() -> None:
    net, x = small_net(), images(12)
    y = torch.arange(12) % 2
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05)
    seen = []
    with ModularityLoss(net) as modularity:
        for _ in range(30):
            loss = cross_entropy(net(x), y) + modularity(y)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            assert modularity.last is not None
            seen.append(modularity.last.numbers())
    assert sum(seen[-1].values()) < sum(seen[0].values())


def test_functions_count_as_modules_do() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = relu(self.first(x)).permute(0, 2, 3, 1)
            # Behind a fully connected layer the units are the last axis.
            y = gelu(self.second(y))
            return y.mean(dim=(1, 2))

    net = Functional()
    with ModularityLoss(net) as modularity:
        net(images())
        assert [rows.shape[1] for rows in modularity._recorder.rows] == [4, 2]
        assert modularity(LABELS).isfinite()


@pytest.mark.parametrize("family", ["MobileNetV2", "ConvNeXt", "vision transformer"])
def test_a_network_of_ours_is_observed_where_its_original_is(family: str) -> None:
    x, y = torch_inputs(family, batch=6), LABELS
    original = torch_model(family)
    ours = to_torch(load(exported(family, dynamo=True, opset=20)), trainable=True)
    found, counts = [], []
    for net in (original, ours):
        with ModularityLoss(net) as modularity:
            net(x)
            counts.append([rows.shape[1] for rows in modularity._recorder.rows])
            found.append(modularity.terms(y).numbers())
    assert counts[0] == counts[1]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_silu_written_as_a_product_is_seen() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    from modhub.engines.export import from_torch

    ours = to_torch(load(from_torch(net, images())))
    terms = []
    for own in (net, ours):
        with ModularityLoss(own) as modularity:
            own(images())
            terms.append(modularity.terms(LABELS).numbers())
    assert terms[0] == pytest.approx(terms[1], abs=1e-5)


def test_nothing_is_left_behind() -> None:
    net = small_net()
    before = set(net.state_dict())
    with ModularityLoss(net) as modularity:
        net(images())
        # Copied between the forward pass and the loss, when graphs hang on what was seen.
        twin = copy.deepcopy(net)
        assert set(net.state_dict()) == before
        twin(images())
        assert modularity(LABELS).requires_grad
        with pytest.raises(UsageError, match="no activation was seen"):
            modularity(LABELS)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    net(images())
    twin.load_state_dict(net.state_dict())


def test_an_error_in_the_forward_pass_leaves_no_mode_behind() -> None:
    net = small_net()
    with ModularityLoss(net) as modularity:
        with pytest.raises(RuntimeError):
            net(torch.rand(2, 5, 8, 8))
        assert not modularity._recorder._modes
        relu(torch.ones(2, 2))
        net(images())
        assert modularity(LABELS).isfinite()


def test_labels_of_another_batch_are_an_error() -> None:
    net = small_net()
    with ModularityLoss(net) as modularity:
        net(images())
        with pytest.raises(UsageError, match=r"labels have shape \[5\]"):
            modularity(LABELS[:5])


def test_the_caller_may_say_which_modules_are_sites() -> None:
    net = small_net()
    with ModularityLoss(net, sites=lambda _, module: isinstance(module, nn.BatchNorm2d)) as modularity:
        net(images())
        assert [rows.shape for rows in modularity._recorder.rows] == [(6, 4)]
        modularity(LABELS)


def test_it_is_computed_in_full_precision_under_autocast() -> None:
    net = small_net()
    with ModularityLoss(net) as modularity, torch.autocast("cpu", dtype=torch.bfloat16):
        net(images())
        assert all(rows.dtype == torch.float32 for rows in modularity._recorder.rows)
        loss = modularity(LABELS)
    assert loss.dtype == torch.float32
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is None or value.grad.isfinite().all() for value in net.parameters())


PROGRAM = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from modhub.decomposers.moda import ModularityLoss

rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
x, y = torch.rand(7, 4), torch.tensor([0, 1, 0, 1, 2, 2, 0])
mine = slice(0, 3) if rank == 0 else slice(3, 7)
with ModularityLoss(net) as modularity:
    net(x[mine])
    loss = modularity(y[mine])
loss.backward()
gradient = net[0].weight.grad / 2
dist.all_reduce(gradient)
dist.destroy_process_group()
with ModularityLoss(net) as modularity:
    net.zero_grad()
    net(x)
    whole = modularity(y)
whole.backward()
assert torch.allclose(loss, whole, atol=1e-6), (loss, whole)
assert torch.allclose(gradient, net[0].weight.grad, atol=1e-6)
print("equal")
"""


def test_two_processes_see_the_pairs_of_both(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    running = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "meet")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["equal", "equal"]
