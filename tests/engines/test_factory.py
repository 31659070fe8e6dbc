"""Weights for a factory's module: everything in both, or a message that says what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modhub.engines.factory import find_factory, load_weights
from modhub.engines.model import is_factory
from modhub.errors import FormatError, InvalidNetwork, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Tied(nn.Module):
    """Two layers with one array."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight


def test_weights_arrive_unchanged(tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    load_weights(target, tmp_path / "w.safetensors")
    assert torch.equal(source.weight, target.weight)
    assert torch.equal(source.bias, target.bias)


def test_what_differs_is_listed(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2, 5), "extra": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(InvalidNetwork) as caught:
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
    for problem in ("it lacks bias", "the model has no extra", "weight is [2, 5], the model's is [2, 3]"):
        assert problem in str(caught.value)


def test_a_long_list_is_cut_short(tmp_path: Path) -> None:
    save_file({f"a{i}": torch.zeros(1) for i in range(9)}, tmp_path / "w.safetensors")
    with pytest.raises(InvalidNetwork, match="; and 6 more"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")


def test_an_array_that_two_layers_share_is_needed_once(tmp_path: Path) -> None:
    save_file({"first.weight": torch.eye(4)}, tmp_path / "w.safetensors")
    tied = Tied()
    load_weights(tied, tmp_path / "w.safetensors")
    assert torch.equal(tied.second.weight, torch.eye(4))


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(FormatError, match="is no safetensors file"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")


def test_code_that_fails_when_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails_at_once.py").write_text("import no_such_thing_at_all\n", encoding="utf-8")
    (tmp_path / "fails_loudly.py").write_text("raise ValueError('not today')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="importing fails_at_once failed: No module named 'no_such_thing_at_all'"):
        find_factory("fails_at_once:make")
    with pytest.raises(UsageError, match="importing fails_loudly failed: ValueError: not today"):
        find_factory("fails_loudly:make")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nets:make", True),
        ("my.nets:Net.small", True),
        ("sample:cifar10-resnet20", False),
        ("model.onnx", False),
        ("C:\\nets\\model.onnx", False),
        ("./nets:make", False),
        ("nets:", False),
    ],
)
def test_what_counts_as_a_factory(text: str, *, expected: bool) -> None:
    assert is_factory(text) is expected
