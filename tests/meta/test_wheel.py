"""What `pip install modhub` brings: all that is needed, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
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


def build(target: str, *, of: Path, to: Path) -> Path:
    """Return the wheel or source archive of a source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(to)]
    subprocess.run(command, cwd=of, check=True, capture_output=True)
    (built,) = to.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", of=ROOT, to=tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", of=ROOT, to=tmp_path_factory.mktemp("sdist"))


def unpacked(archive: Path, folder: Path) -> Path:
    """Return the source tree of an archive, as a stranger unpacks it: with times and rights of their own."""
    shutil.unpack_archive(archive, folder, filter="data")
    (tree,) = folder.iterdir()
    for path in tree.rglob("*"):
        os.utime(path, (2_000_000_000, 2_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    return tree


def test_a_wheel_made_from_the_source_archive_elsewhere_is_the_same_to_the_byte(
    wheel: Path, archive: Path, tmp_path: Path
) -> None:
    tree = unpacked(archive, tmp_path / "tree")
    again = build("wheel", of=tree, to=tmp_path / "wheel")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_a_source_archive_is_the_same_to_the_byte_and_holds_what_the_tests_need(archive: Path, tmp_path: Path) -> None:
    again = build("sdist", of=ROOT, to=tmp_path / "again")
    assert again.read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    for name in ("Makefile", "constraints.txt", "docs/conf.py", "examples/plugin/pyproject.toml", "tests/conftest.py"):
        assert name in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("build/")]


def test_a_wheel_has_its_version_from_the_one_place_and_its_types(wheel: Path, tmp_path: Path) -> None:
    from modhub._version import __version__

    assert wheel.name == f"modhub-{__version__}-py3-none-any.whl"
    shutil.unpack_archive(wheel, tmp_path / "installed", format="zip")
    user = tmp_path / "user.py"
    user.write_text("import modhub\nreveal_type(modhub.compose([]).package.name)\n", encoding="utf-8")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache")]
    packages = {**os.environ, "MYPYPATH": str(tmp_path / "installed")}
    config = tmp_path / "mypy.ini"
    # The types of modhub are asked for, not those of what it stands on, which take minutes.
    skipped = "[mypy-torch.*,numpy.*,onnx.*,huggingface_hub.*]\nfollow_imports = skip\n"
    config.write_text(f"[mypy]\nignore_missing_imports = true\n{skipped}", encoding="utf-8")
    done = subprocess.run(
        [*mypy, "--config-file", str(config), str(user)],
        cwd=tmp_path, env=packages, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", ""), done.stdout + done.stderr


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
    shutil.unpack_archive(wheel, tmp_path, format="zip")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    file, data = done.stdout.splitlines()
    assert file.startswith(str(tmp_path))
    assert data.startswith("<Dataset 'cifar10-test': 10 samples")
