"""What the pages tell people to type works."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from modhub.datasets import load_dataset
from modhub.datasets.samples import read_sample
from modhub.hub.registries import seed_folder
from tests.docs.blocks import RUN, Reader, blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
FOLLOWED = [page for page in PAGES if any(block.is_run for block in blocks_of(page))]
SHOWN = {"", "text", "toml", "json", "yaml", "bash", "ini", "xml", "mermaid"}
"""Kinds of blocks that nobody types."""


@pytest.fixture
def reader(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Reader]:
    """A reader in a folder with a photo, a model, a collection, and a weak model with the names of its classes."""
    monkeypatch.chdir(tmp_path)
    data = load_dataset("sample:cifar10-test")
    Path("resnet20.onnx").write_bytes(read_sample("cifar10-resnet20.onnx"))
    shutil.copytree(seed_folder() / "modhub" / "resnet20-cifar10", "collection")
    shutil.copy(data_folder / "cifar10-lenet.onnx", "weak.onnx")
    Path("names.txt").write_text("\n".join(data.classes or ()), encoding="utf-8")
    Image.fromarray(data.values[0].transpose(1, 2, 0)).save("photo.png")
    monkeypatch.syspath_prepend(str(tmp_path))
    reader = Reader(capsys)
    yield reader
    reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_can_be_followed(page: Path, reader: Reader) -> None:
    assert reader.follow(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks_of(page):
        assert block.kind in {*RUN, *SHOWN}, f"{page.name}, line {block.line}: what is a block of {block.kind!r}?"
        if block.kind in RUN and not block.is_run and not block.text.startswith(">>>"):
            assert block.note.removeprefix("not run:").strip(), f"{page.name}, line {block.line}"
        assert block.kind == "console" or "$ modhub" not in block.text or block.note, f"{page.name}, line {block.line}"


def test_the_pages_that_promise_something_to_do_are_followed() -> None:
    assert {"tutorial.md", "private-registry.md", "air-gap.md", "patch.md", "moda.md"} <= {p.name for p in FOLLOWED}
