"""Calling the command line in this process, and something to call it on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from modhub import flow
from modhub.cli.main import run
from modhub.network.onnx_file import to_onnx
from tests.support.pets import pets_network, pets_packages, publish_pets, write_pets_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What a command left behind: exit code, results and talk."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result as a value."""
        return json.loads(self.out)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Call a command in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)

    def called(*words: object) -> Answer:
        capsys.readouterr()
        code = run([str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return called


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with two versions of the pets."""
    return publish_pets(tmp_path_factory.mktemp("registry") / "modules", "1.0.0", "1.1.0")


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection folder of the pets, in both forms."""
    folder = tmp_path_factory.mktemp("collection") / "pets"
    return flow.write_collection(pets_packages(forms=("delta", "standalone")), folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images of pets."""
    return write_pets_data(tmp_path_factory.mktemp("data") / "pets.npz")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parent as a small ``.onnx`` file of its own."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    folder = tmp_path_factory.mktemp("model")
    graph, weights = to_onnx(pets_network())
    (folder / "weights.safetensors").write_bytes(weights)
    loaded = onnx.load_model_from_string(graph)
    load_external_data_for_model(loaded, str(folder))
    onnx.save_model(loaded, folder / "pets.onnx")
    return folder / "pets.onnx"
