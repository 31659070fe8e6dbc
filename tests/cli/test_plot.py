"""`modhub plot`, and the pages that `decompose` and `evaluate` write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from modhub import flow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]

QUICK = ("--steps", "2", "--keep", "0.7", "--max-loss", "100")


@pytest.fixture
def split(call: Call, model: Path, data: Path, tmp_path: Path) -> Path:
    """A collection that `decompose` wrote, with its reports."""
    answer = call("decompose", model, "--data", data, "-o", "split", *QUICK)
    assert answer.code == 0, answer.err
    return tmp_path / "split"


def test_decompose_says_what_was_pinned_and_writes_both_reports(
    call: Call, model: Path, data: Path, tmp_path: Path
) -> None:
    answer = call("decompose", model, "--data", data, "-o", "split", *QUICK)
    assert "2 of 3 sites can be cut; pinned: 1 site of 4 channels (it is the output)" in answer.out
    assert "composed accuracy" in answer.out
    report = json.loads((tmp_path / "split/report.json").read_text("utf-8"))
    page = (tmp_path / "split/report.html").read_text("utf-8")
    command = f"modhub decompose {model} --data {data} --output split --max-loss 100.0 --keep 0.7 --steps 2"
    assert report["commands"][0] == command
    assert command in page
    assert "Some samples" in page
    for module, kept in zip(report["modules"], report["kept"]["modules"], strict=True):
        assert module["metrics"]["kernels_kept"]["value"] == kept["kernels_kept"]


@pytest.mark.parametrize("format", ["png", "svg", "html"])
def test_a_collection_is_drawn_with_all_that_there_is(call: Call, split: Path, tmp_path: Path, format: str) -> None:
    answer = call("plot", split, "-o", f"picture.{format}")
    assert (answer.code, answer.out) == (0, "")
    assert "kept, overlap, curve" in answer.err
    file = tmp_path / f"picture.{format}"
    if format == "png":
        Image.open(file).verify()
    else:
        assert "Accuracy against size" in file.read_text("utf-8")
    assert call("plot", split, "-o", f"picture.{format}").code == 0


def test_the_numbers_of_a_collection_are_those_of_its_report(call: Call, split: Path) -> None:
    answer = call("plot", split, "--json")
    report = json.loads((split / "report.json").read_text("utf-8"))
    assert answer.json["overlap"] == report["overlap"]
    assert answer.json["curve"] == report["curve"]
    assert answer.json["kept"] == {**report["kept"], "sites": report["sites"]}


def test_one_kind_can_be_asked_for(call: Call, collection: Path) -> None:
    assert set(call("plot", collection, "--kind", "overlap", "--json").json) == {"target", "overlap"}
    answer = call("plot", collection, "--kind", "curve")
    assert (answer.code, answer.out) == (2, "")
    assert "no report.json beside it" in answer.err


def test_without_an_output_tables_are_printed(call: Call, split: Path, model: Path) -> None:
    tables = call("plot", split).out
    assert "what each module keeps" in tables
    assert "chosen" in tables
    sites = call("plot", model).out
    assert "conv 2" in sites
    assert "it is the output" in sites


def test_a_module_a_base_a_composite_and_a_sample_are_drawn(call: Call, collection: Path, tmp_path: Path) -> None:
    assert set(call("plot", collection / "cat/1.0.0", "--json").json) == {"target", "kept"}
    assert set(call("plot", collection / "base/1.0.0", "--json").json) == {"target", "sites"}
    assert call("compose", collection, "-o", "composed").code == 0
    assert set(call("plot", "composed", "--json").json) == {"target", "sites", "overlap"}
    assert call("plot", "composed", "-o", "composed.svg").code == 0
    assert ET.parse(tmp_path / "composed.svg").getroot().tag.endswith("svg")  # noqa: S314  Made by us.
    assert len(call("plot", "sample:cifar10-resnet20", "--json").json["sites"]) == 22
    assert len(flow.check(collection)) == 5


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere.onnx",), 3, "nowhere.onnx"),
        (("sample:cifar10-resnet20", "-o", "picture.pdf"), 2, "ends with .png, .svg or .html"),
        (("sample:cifar10-resnet20", "-o", "no/such/picture.png"), 2, "there is no folder"),
        (("sample:cifar10-resnet20", "--kind", "kept"), 2, "it holds no masks"),
    ],
)
def test_what_cannot_be_drawn_is_said(call: Call, words: tuple[str, ...], code: int, message: str) -> None:
    answer = call("plot", *words)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err


def test_a_damaged_report_is_named(call: Call, split: Path) -> None:
    (split / "report.json").write_text("[1]", encoding="utf-8")
    answer = call("plot", split)
    assert answer.code == 1
    assert "report.json" in answer.err


def test_an_evaluation_becomes_a_page(call: Call, model: Path, data: Path, tmp_path: Path) -> None:
    answer = call("evaluate", model, "--data", data, "--report", "found.html")
    assert answer.code == 0, answer.err
    page = (tmp_path / "found.html").read_text("utf-8")
    assert f"modhub evaluate {model} --data {data} --report found.html" in page
    assert "What is taken for what" in page
    again = call("evaluate", model, "--data", data, "--report", "found.html")
    assert (again.code, "is there already" in again.err) == (2, True)
    assert call("evaluate", model, "--data", data, "--report", "found.txt").code == 2
