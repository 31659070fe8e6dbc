"""Modules in eight bits and answers of "none of these", as a user meets them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub import flow
from tests.engines.test_quantise import rounded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry whose modules also come in eight bits, and the file of an image that they take."""
    monkeypatch.setenv("MODHUB_STORE", str(tmp_path / "store"))
    flow.publish(rounded(), to=str(tmp_path / "modules"), collection="acme/pets")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32))
    return tmp_path / "modules"


def test_eight_bits_are_asked_for_locked_and_composed(call: Call, modules: Path) -> None:
    locked = call("resolve", "acme/pets/cat[int8]", "class:dog[int8]", "-r", modules, "-o", "modhub.lock", "--json")
    assert locked.code == 0, locked.err
    assert [(module["name"], module["form"]) for module in locked.json["module"]] == [
        ("acme/pets/cat", "int8"),
        ("acme/pets/dog", "int8"),
    ]
    composed = call("compose", "modhub.lock", "-o", "pets", "--json")
    assert composed.code == 0, composed.err
    assert composed.json["manifest"]["method"]["parameters"]["precision"] == "int8"
    assert call("check", "pets").code == 0
    assert len(call("run", "pets", "x.npz", "--json").json) == 2


def test_one_precision_per_parent_is_said_before_anything_is_fetched(call: Call, modules: Path) -> None:
    refused = call("compose", "acme/pets/cat[int8]", "acme/pets/dog", "-r", modules, "-o", "pets")
    assert refused.code == 1
    assert "they are cut from one network, and asked for in different precision" in refused.err
    assert "acme/pets/dog[int8] instead of acme/pets/dog" in refused.err


def test_a_variant_that_does_not_exist_is_told(call: Call, modules: Path) -> None:
    refused = call("resolve", "acme/pets/cat[int4]", "-r", modules)
    assert refused.code == 1
    assert "comes as delta and int8 only" in refused.err


def test_a_composite_may_say_that_nothing_fits(call: Call, modules: Path) -> None:
    composed = call("compose", "acme/pets/cat", "acme/pets/dog", "-r", modules, "-o", "strict", "--reject", "0.999")
    assert composed.code == 0, composed.err
    assert 'answers "none of these" below a probability of 0.999' in composed.out
    assert {each["answer"] for each in call("run", "strict", "x.npz", "--json").json} == {None}
    assert "none of these" in call("run", "strict", "x.npz").out
    lax = call("run", "strict", "x.npz", "--json", "--reject", "0.0001").json
    assert {each["answer"] for each in lax} <= {"cat", "dog"}
    assert "none of these" not in json.dumps(lax)


def test_what_is_no_threshold_is_refused(call: Call, modules: Path) -> None:
    answer = call("compose", "acme/pets/cat", "-r", modules, "-o", "strict", "--reject", "often")
    assert (answer.code, "expected auto or a probability between 0 and 1, got 'often'" in answer.err) == (2, True)
    raw = call("run", "sample:cifar10-resnet20", "x.npz", "--reject", "auto")
    assert (raw.code, "--reject takes calibrated scores" in raw.err) == (2, True)
