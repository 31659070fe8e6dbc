"""`modhub decompose` on real digits and on models of one's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub import flow
from tests.support.pets import CLASSES, write_pets_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]

QUICK = ("--steps", "2", "--keep", "0.7")

FACTORY = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4))

def broken():
    raise RuntimeError("no such luck")

def number():
    return 4

nothing = 4
"""


@pytest.fixture
def factory(tmp_path: Path) -> str:
    """Code of the caller's own, in the folder they stand in."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FACTORY, encoding="utf-8")
    return name


def test_real_digits_become_ten_modules(call: Call, data_folder: Path, tmp_path: Path) -> None:
    model, data = data_folder / "mnist-mlp1-panrajan.onnx", data_folder / "mnist-test-200.npz"
    answer = call("decompose", model, "--data", data, "-o", "digits", *QUICK, "--json")
    assert answer.code == 0, answer.err
    assert "masks act on" in answer.err
    assert [module["name"] for module in answer.json["modules"]] == [str(digit) for digit in range(10)]
    assert json.loads((tmp_path / "digits/report.json").read_text(encoding="utf-8")) == answer.json
    assert call("check", "digits").code == 0
    assert call("decompose", model, "--data", data, "-o", "digits", *QUICK).code == 2


def test_the_same_seed_gives_the_same_modules(call: Call, model: Path, data: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert call("decompose", model, "--data", data, "-o", folder, "--seed", "3", *QUICK).code == 0
    one, two = (tmp_path / folder / "cat/1.0.0/delta.safetensors" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_said_of_the_packages(call: Call, model: Path, data: Path, tmp_path: Path) -> None:
    words = (
        "--classes",
        "dog, cat",
        "--form",
        "delta",
        "--form",
        "standalone",
        "--version",
        "2.0.0",
        "--license",
        "MIT",
    )
    assert call("decompose", model, "--data", data, "-o", "out", *words, *QUICK).code == 0
    base, *modules = flow.check(tmp_path / "out")
    assert [label.name for label in base.manifest.classes] == list(CLASSES)
    assert {package.name for package in modules} == {"cat", "dog"}
    for package in modules:
        assert (package.version, package.manifest.license) == ("2.0.0", "MIT")
        assert set(package.manifest.forms) == {"delta", "standalone"}
        assert package.manifest.parent is not None
        assert package.manifest.parent.name == "pets"


def test_the_names_given_decide_the_order_of_the_labels(call: Call, model: Path, tmp_path: Path) -> None:
    # As folders would: the data counts its classes by the alphabet, the network does not.
    names = sorted(CLASSES)
    labels = np.array([names.index(CLASSES[i % 4]) for i in range(40)])
    data = write_pets_data(tmp_path / "sorted.npz", y=labels, classes=np.array(names))
    (tmp_path / "names.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    plain = write_pets_data(tmp_path / "plain.npz")
    words = ("--validation", data, "--class-names", "names.txt", *QUICK)
    right = call("decompose", model, "--data", data, "-o", "right", *words, "--json").json
    known = call("decompose", model, "--data", plain, "-o", "known", "--validation", plain, *QUICK, "--json").json
    assert [label["name"] for label in right["parent"]["classes"]] == list(CLASSES)
    assert right["parent"]["metrics"]["accuracy"] == known["parent"]["metrics"]["accuracy"]


def test_data_without_labels_is_enough_where_validation_has_them(
    call: Call, model: Path, data: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "plain.npz", x=np.load(data)["x"])
    assert call("decompose", model, "--data", "plain.npz", "--validation", data, "-o", "out", *QUICK).code == 0


def test_a_base_can_be_split_again(call: Call, collection: Path, data: Path, tmp_path: Path) -> None:
    assert call("decompose", collection / "base/1.0.0", "--data", data, "-o", "out", *QUICK).code == 0
    assert {package.name for package in flow.check(tmp_path / "out")} == {"base", *CLASSES}


def test_a_factory_with_weights(call: Call, factory: str, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    words = ("--weights", "net.safetensors", "--input-shape", "3,8,8")
    answer = call("decompose", f"{factory}:make", "--data", data, "-o", "out", *words, *QUICK)
    assert answer.code == 0, answer.err
    assert call("check", "out").code == 0


@pytest.mark.parametrize(
    ("name", "words", "code", "message"),
    [
        ("make", (), 2, "needs the shape of one input"),
        ("make", ("--input-shape", "3,x"), 2, "expected sizes like 3,32,32, got '3,x'"),
        ("make", ("--input-shape", "3,9,9"), 1, "cannot export it"),
        ("make", ("--input-shape", "3,8,8", "--weights", "net.pt"), 2, "net.pt holds pickles"),
        ("make", ("--input-shape", "3,8,8", "--weights", "none.safetensors"), 3, "none.safetensors"),
        ("absent", ("--input-shape", "3,8,8"), 3, "has no 'absent'"),
        ("nothing", ("--input-shape", "3,8,8"), 2, "is no function, but int"),
        ("number", ("--input-shape", "3,8,8"), 1, "expected a torch.nn.Module, got int"),
        ("broken", ("--input-shape", "3,8,8"), 1, "broken() failed: RuntimeError: no such luck"),
    ],
)
def test_what_can_be_wrong_with_a_factory(
    call: Call, factory: str, data: Path, tmp_path: Path, name: str, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = call("decompose", f"{factory}:{name}", "--data", data, "-o", "out", *words)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert not (tmp_path / "out").exists()


def test_a_module_that_is_not_there(call: Call, data: Path) -> None:
    answer = call("decompose", "no_such_package.nets:make", "--data", data, "-o", "out", "--input-shape", "3,8,8")
    assert (answer.code, "there is no module 'no_such_package'" in answer.err) == (3, True)


def test_unfinished_work_is_gone_on_with_only_when_asked(call: Call, model: Path, data: Path, tmp_path: Path) -> None:
    words = ("decompose", model, "--data", data, "-o", "out", *QUICK)
    assert call(*words, "--resume").code == 0
    assert not (tmp_path / "out.partial").exists()
    other = ("decompose", model, "--data", data, "-o", "new", *QUICK)
    (tmp_path / "new.partial").mkdir()
    refused = call(*other)
    assert refused.code == 2
    assert "new.partial holds the unfinished work" in refused.err
    assert "--resume" in refused.err
    assert call(*other, "--resume").code == 0
    assert not (tmp_path / "new.partial").exists()


def test_training_is_told_of_now_and_then_with_the_time_that_is_left(
    call: Call, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modhub.cli.telling.TELL_EVERY_S", 0.0)
    told = call("decompose", model, "--data", data, "-o", "out", "--steps", "30", "--keep", "0.7").err
    line = [line for line in told.splitlines() if "at work" in line][-1]
    assert all(word in line for word in ("keeps", "loss", "left"))


@pytest.mark.parametrize("method", ["gradsplitter", "cnnsplitter"])
def test_the_papers_recipes_split_too(call: Call, data_folder: Path, method: str) -> None:
    model, digits = data_folder / "mnist-mlp1-panrajan.onnx", data_folder / "mnist-test-200.npz"
    words = ("--method", method, "--recipe", "paper", "--steps", "1", "--budget", "1s")
    answer = call("decompose", model, "--data", digits, "-o", "out", *words, "--json")
    assert answer.code == 0, answer.err
    assert "there is no trunk" in answer.err
    assert call("check", "out").code == 0
