"""What `pip install modhub` brings: all that is needed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import modhub
from modhub.datasets import load_dataset
print(modhub.__file__)
print(load_dataset("sample:cifar10-test", limit=10))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_holds_code_samples_schemas_seed_and_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("modhub/py.typed", "modhub/samples/cifar10-train.webp", "modhub/samples/cifar10-resnet20.onnx"):
        assert name in names
    for folder in ("modhub/_schemas/", "modhub/_seed/"):
        assert any(name.startswith(folder) for name in names), folder
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops <= {"modhub", "modhub_registry"}


def test_a_wheel_is_small_enough_to_install_without_a_thought(wheel: Path) -> None:
    assert wheel.stat().st_size < 20_000_000


def test_what_is_in_the_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    # Unpacked rather than installed: a pure wheel is its files, and nothing is fetched.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    file, data = done.stdout.splitlines()
    assert file.startswith(str(tmp_path))
    assert data.startswith("<Dataset 'cifar10-test': 10 samples")
