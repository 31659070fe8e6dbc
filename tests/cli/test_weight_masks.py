"""Weight masks from the command line: split, check, compose as a union or packed, run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer


@pytest.mark.parametrize("form", ["delta", "values"])
def test_a_model_is_split_and_put_together_again(
    call: Callable[..., Answer], data_folder: Path, tmp_path: Path, form: str
) -> None:
    data = str(data_folder / "mnist-test-200.npz")
    split, whole = str(tmp_path / "split"), str(tmp_path / "whole")
    model = str(data_folder / "mnist-mlp1-panrajan.onnx")
    choices = ("--method", "weightmask", "--keep", "0.5", "--steps", "5", "--sharing", "0.001", "--form", form)
    told = call("decompose", model, "--data", data, "-o", split, *choices)
    assert told.code == 0, told.err
    assert "masks act on 38416 weights" in told.err
    assert "keeps 50.0 % of the weights behind the trunk" in told.err
    assert call("check", split).code == 0
    told = call("compose", split, "-o", whole, "--strategy", "union", "--masks", "packed")
    assert told.code == 0, told.err
    assert "strategy union (asked for: one network with what any of the modules keeps)" in told.out
    assert call("check", whole).code == 0
    assert call("run", whole, data, "--engine", "torch").code == 0
