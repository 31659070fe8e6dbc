"""`modhub patch`, and what other commands make of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.engines.model import Model
from modhub.network.onnx_file import to_onnx
from tests.composer.test_patch import other_network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]


def write_weak(folder: Path, shape: tuple[int, ...] = (3, 8, 8)) -> Path:
    network = Model.of(other_network(shape)).network
    (folder / "weak").mkdir()
    for name, content in zip(("model.onnx", "weights.safetensors"), to_onnx(network), strict=True):
        (folder / "weak" / name).write_bytes(content)
    return folder / "weak/model.onnx"


def test_a_class_is_patched_checked_run_and_measured(call: Call, collection: Path, data: Path, tmp_path: Path) -> None:
    weak = write_weak(tmp_path)
    words = ("--class", "dog", "--with", collection, "--data", data, "--test", data, "-o", "out")
    answer = call("patch", weak, *words)
    assert answer.code == 0, answer.err
    assert "recall of the class" in answer.out
    assert call("check", "out").code == 0
    assert call("run", "out", data, "--json").code == 0
    assert call("evaluate", "out", "--data", data).code == 0
    assert call("patch", weak, *words).code == 2


def test_the_numbers_are_there_for_programs(call: Call, collection: Path, data: Path, tmp_path: Path) -> None:
    weak = write_weak(tmp_path, (1, 12, 12))
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nhorse\nbird\n", encoding="utf-8")
    words = ("--class", "dog", "--with", collection / "dog/1.0.0", "--class-names", names, "-o", "out", "--json")
    refused = call("patch", weak, *words, "--glue", "none")
    assert refused.code == 1
    assert "--adapt channels --adapt resize" in refused.err
    answer = call("patch", weak, *words, "--glue", "none", "--adapt", "channels", "--adapt", "resize")
    assert answer.code == 0, answer.err
    assert answer.json["adapters"] == ["grey three times", "12x12 to 8x8, bilinear"]
    assert answer.json["manifest"]["kind"] == "composite"
    assert call("patch", weak, *words).code == 2
    assert call("patch", weak, "--class", "dog", "--with", "nothing-here/x/y", "-o", "no").code != 0
    assert call("patch", weak, "--class", "dog", "--with", collection, "--data", data, "-o", "no").code == 1
