"""Clients that are not the one these tests run with: an older one, the `hf` command, and the one for JavaScript."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modhub import fsops
from tests.support.needed import lacking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.server.service import Service

CLIENTS = Path(__file__).parent / "clients"
OLDEST = "1.6.0"
"""The oldest version that modhub takes."""

WAIT_S = 240


@pytest.fixture(scope="session")
def cache(request: pytest.FixtureRequest) -> Path:
    """A folder that outlives this run, so that clients are fetched once."""
    return request.config.cache.mkdir("clients")


def fetched(tool: str, folder: Path, command: Sequence[str]) -> Path:
    """Return a folder that a command fills; of several processes one runs it, and a folder half full is never left."""
    with fsops.locked(folder.with_suffix(".lock"), patience_s=WAIT_S):
        if not folder.is_dir():
            fresh = folder.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            shutil.copy(CLIENTS / "package.json", fresh)
            try:
                subprocess.run([*command, str(fresh)], check=True, capture_output=True, text=True, timeout=WAIT_S)
            except (OSError, subprocess.SubprocessError) as error:
                told = getattr(error, "stderr", None) or str(error)
                lacking(tool, f"cannot be fetched: {told.strip().splitlines()[-1]}")
            fresh.rename(folder)
    return folder


def talk(command: Sequence[str | Path], **environment: str) -> str:
    """Run a client and return what it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_python_client(said: str, name: str, user: str) -> None:
    """Check what the client in Python says that it did."""
    found = json.loads(said)
    files = ["README.md", "large.bin", "more.txt", "parts.bin"]
    assert (found["user"], found["stale"], found["tags"]) == (user, 412, {"rel/1.0.0+cpu": True})
    assert (found["found"], found["files"], found["tree"]) == ([name], files, files)
    assert (found["large"], found["parts"], found["cat"]) == (True, True, "more")
    assert found["commits"] == ["second", "first", "initial commit"]
    assert found["sizes"]["parts.bin"] == 1_500_000


def test_the_oldest_client_that_modhub_takes(service: Service, cache: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "-q", f"huggingface_hub=={OLDEST}", "--target"]
    older = fetched("older-hub-client", cache / f"huggingface_hub-{OLDEST}", install)
    words = (service.url, service.token("olga"), "olga/pets", tmp_path)
    said = talk([sys.executable, CLIENTS / "client.py", *words], PYTHONPATH=str(older), HF_HOME=str(tmp_path))
    assert json.loads(said)["version"] == OLDEST
    check_python_client(said, "olga/pets", "olga")


def test_the_client_of_these_tests_in_a_process_of_its_own(service: Service, tmp_path: Path) -> None:
    words = (service.url, service.token("nora"), "nora/pets", tmp_path)
    said = talk([sys.executable, CLIENTS / "client.py", *words], HF_HOME=str(tmp_path))
    check_python_client(said, "nora/pets", "nora")


def test_the_client_for_javascript(service: Service, cache: Path) -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        lacking("node", "node or npm is not on the path")
    version = json.loads((CLIENTS / "package.json").read_text("utf-8"))["dependencies"]["@huggingface/hub"]
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix"]
    folder = fetched("node", cache / f"npm-{version}", install)
    shutil.copy(CLIENTS / "client.mjs", folder)
    found = json.loads(talk(["node", folder / "client.mjs", service.url, service.token("jay"), "jay/pets"]))
    assert found.pop("commits")[-2:] == ["first", "initial commit"]
    assert found == {
        "user": "jay",
        "files": ["README.md", "a/small.txt", "large.bin", "more.txt"],
        "text": "small",
        "same": True,
        "part": True,
        "info": "jay/pets",
        "exists": False,
        "search": ["jay/pets"],
    }


def test_the_hf_command(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    (folder / "deep").mkdir(parents=True)
    (folder / "README.md").write_text("---\ntags: [modhub]\n---\n# Pets\n", "utf-8")
    (folder / "deep" / "small.bin").write_bytes(os.urandom(1000))
    settings = {"HF_ENDPOINT": service.url, "HF_TOKEN": service.token("hal"), "HF_HOME": str(tmp_path / "home")}

    def hf(*words: str) -> str:
        return talk([Path(sys.executable).parent / "hf", *words], **settings)

    assert "hal" in hf("auth", "whoami")
    hf("repos", "create", "hal/pets")
    hf("upload", "hal/pets", str(folder))
    hf("repos", "tag", "create", "hal/pets", "v1")
    assert "v1" in hf("repos", "tag", "list", "hal/pets")
    assert "hal/pets" in hf("models", "ls", "--filter", "modhub", "--author", "hal", "--format", "json")
    hf("download", "hal/pets", "--revision", "v1", "--local-dir", str(tmp_path / "copy"))
    assert (tmp_path / "copy/deep/small.bin").read_bytes() == (folder / "deep/small.bin").read_bytes()
    hf("repos", "delete", "hal/pets", "--yes")
