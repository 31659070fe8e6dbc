"""`pip install 'modhub[sign]'` brings all that signing needs: nothing is there by chance.

Everything that modhub declares with this extra, and what that declares in turn, is put into an empty environment,
without a network, and signing runs there. With MODHUB_STRESS, `pip` makes the environment from the package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modhub import flow
from tests.security.test_signatures import write_key
from tests.support.figures import STRESS
from tests.support.pets import pets_packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib.util, json, sys
from modhub.cli.main import run
print(json.dumps([run(words) for words in json.loads(sys.argv[1])]))
print(importlib.util.find_spec("torch") is None, importlib.util.find_spec("pytest") is None)
"""


def declared(extra: str) -> list[Requirement]:
    """Return what modhub requires with an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"][extra])]


def closure(wanted: Iterable[Requirement]) -> dict[str, set[str]]:
    """Return the names of all distributions that some requirements bring, with the extras that are asked of each."""
    found: dict[str, set[str]] = {}
    left = [(requirement, "") for requirement in wanted]
    while left:
        requirement, extra = left.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        new = {"", *requirement.extras} - found.get(name, set())
        found[name] = found.get(name, set()) | new
        if new:
            inner = [Requirement(text) for text in distribution(name).requires or ()]
            left += [(each, asked) for each in inner for asked in new]
    return found


def put_together(names: Iterable[str], folder: Path) -> Path:
    """Make a folder of links to everything that some distributions installed, and to nothing else."""
    folder.mkdir()
    for name in names:
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:
            pytest.fail(f"{name} is declared and not installed here")
        for top in {Path(file).parts[0] for file in files} - {"..", "__pycache__"}:
            place = folder / top
            if not place.exists():
                place.symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder


def story(folder: Path) -> list[list[str]]:
    """Return the commands of somebody who signs a collection, and of somebody who wants it signed."""
    key = write_key(folder, "acme")
    flow.write_collection(pets_packages(), folder / "pets")
    trust, name = ["--trust", f"acme={key.with_suffix('.pub')}"], ["--name", "acme/pets"]
    pets, registry = str(folder / "pets"), str(folder / "registry")
    return [
        ["sign", pets, "--key", str(key), *name],
        ["verify", pets, *trust, *name],
        ["publish", pets, "--to", registry, *name],
        ["install", "-r", registry, "acme/pets/cat", "--require-signature", *trust],
        ["registry", "sign-index", registry, "--keys", "keys", "-o", "metadata"],
    ]


def run_there(python: Sequence[str | Path], folder: Path, *, path: str = "") -> list[str]:
    """Run the story by some Python, and return what it says at the end."""
    (folder / "work").mkdir()
    words = json.dumps(story(folder))
    environment = {"HOME": str(folder), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"} | (
        {"PYTHONPATH": path} if path else {}
    )
    command = [*python, "-P", "-c", PROGRAM, words]
    done = subprocess.run(
        command, cwd=folder / "work", env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-2:]


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: links need a privilege on Windows")
def test_signing_works_with_nothing_but_what_is_declared(tmp_path: Path) -> None:
    names = closure(declared("sign"))
    assert {"model-signing", "pyopenssl", "tuf"} <= set(names)
    there = put_together(names, tmp_path / "packages")
    # -S leaves out what is installed beside them.
    said = run_there([sys.executable, "-S"], tmp_path, path=f"{there}:{ROOT}")
    assert said == ["[0, 0, 0, 0, 0]", "True True"]


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: links need a privilege on Windows")
def test_what_model_signing_does_not_declare_is_missed_here(tmp_path: Path) -> None:
    there = put_together(closure([Requirement("model-signing")]), tmp_path / "packages")
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", "import model_signing.signing"],
        env={"PYTHONPATH": str(there)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'OpenSSL'" in done.stderr


@pytest.mark.skipif(not STRESS, reason="takes MODHUB_STRESS=1: pip fetches 60 packages")
def test_signing_works_in_an_environment_that_pip_made(tmp_path: Path) -> None:
    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", f"{ROOT}[sign]"]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    assert run_there([python], tmp_path) == ["[0, 0, 0, 0, 0]", "True True"]
