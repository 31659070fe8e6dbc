"""The demo from the second step on: the modules of an earlier run are there, split at random."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from modhub import flow
from modhub.cli.main import run
from modhub.datasets import load_dataset
from modhub.network.trunk import cut_points
from modhub.package.pack import Release
from tests.support.modules import random_decomposition

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A demo folder with modules that share most of their parent."""
    network, classes = flow.load("sample:cifar10-resnet20").network, load_dataset("sample:cifar10-test").classes
    cut = cut_points(network)[-3].value
    split = random_decomposition(network, cut=cut, labels=classes or ())
    flow.write_collection(flow.pack(split, Release(license="BSD-2-Clause")), tmp_path / "demo" / "collection")
    return tmp_path / "demo"


def test_the_story_ends_with_a_table_and_a_picture(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "-o", str(earlier), "--json"]) == 0
    told, talk = capsys.readouterr()
    assert [line[:2] for line in talk.splitlines()] == [f"{step}." for step in range(1, 8)]
    story = json.loads(told)
    assert [row["what"] for row in story["rows"]][::3] == ["parent", "cat, dog, truck composed"]
    assert story["rows"][0]["accuracy"] > 0.9
    assert len(story["modules"]) == 10
    assert (earlier / "scores.png").read_bytes().startswith(PNG)
    assert flow.load(earlier / "composed").columns == ("cat", "dog", "truck")


def test_remains_that_do_not_fit_are_told_of(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (earlier / "collection/cat/1.0.0/delta.safetensors").write_bytes(b"old")
    assert run(["demo", "-o", str(earlier)]) == 2
    assert f"delete {earlier}" in capsys.readouterr().err
