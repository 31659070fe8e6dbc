from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from modhub.errors import NotFound, UsageError
from modhub.hub import registries
from modhub.hub.directory import DirectoryBackend
from modhub.hub.memory import MemoryBackend
from modhub.hub.registries import open_registry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("text", ["{}", "{}/new", "{}/new folder/x", "{}/a:b", "file://{}", "file://localhost{}"])
def test_a_folder_is_a_registry(tmp_path: Path, text: str) -> None:
    backend = open_registry(text.format(tmp_path))
    assert isinstance(backend, DirectoryBackend)
    assert backend.root.is_relative_to(tmp_path)
    assert not backend.remote


def test_a_folder_may_be_relative_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "modules").mkdir()
    for text in ("modules", "./modules", "~/modules", "modules/"):
        assert open_registry(text).name == (tmp_path / "modules").as_uri()
    assert open_registry(".").name == tmp_path.as_uri()


def test_what_a_lock_calls_a_folder_opens_it(tmp_path: Path) -> None:
    for name in ("plain", "with space", "100%", "a%20b", "ä#?"):
        backend = DirectoryBackend(tmp_path / name)
        again = open_registry(backend.name)
        assert again.name == backend.name
        assert isinstance(again, DirectoryBackend)
        assert again.root == backend.root


def test_a_configured_name_comes_first(tmp_path: Path) -> None:
    assert open_registry("ours", configured={"ours": str(tmp_path)}).name == tmp_path.as_uri()


@pytest.mark.parametrize("text", ["", "misspelt", "ftp://host/x", "c3po:", ":"])
def test_anything_else_is_refused_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no registry; expected one of a folder, file:\.{3}, .*, ours; a new"):
        open_registry(text, configured={"ours": "/srv"})


@pytest.mark.parametrize("text", ["file://elsewhere/x", "file:relative", "file:", "seed:x"])
def test_an_address_that_means_nothing_here_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=text):
        open_registry(text)


def test_a_registry_in_memory_is_one_per_name() -> None:
    assert open_registry("memory:a") is open_registry("memory:a")
    assert open_registry("memory:a") is not open_registry("memory:b")
    assert open_registry("memory:a").name == "memory:a"


def test_the_seed_is_found_beside_the_package_or_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "SEED_PLACES", (tmp_path / "wheel", tmp_path / "checkout"))
    with pytest.raises(NotFound, match="the seed registry is missing"):
        open_registry("seed:")
    for place in ("checkout", "wheel"):
        (tmp_path / place).mkdir()
        backend = open_registry("seed:")
        assert isinstance(backend, DirectoryBackend)
        assert (backend.root, backend.name) == (tmp_path / place, "seed:")


def test_a_later_backend_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registries.SCHEMES, "hf", lambda text: MemoryBackend(f"opened {text}"))
    assert open_registry("hf://acme").name == "opened hf://acme"


def test_opening_a_registry_and_reading_it_loads_nothing_heavy(tmp_path: Path) -> None:
    program = f"""
import subprocess
import sys
from modhub.hub.client import Client
from modhub.hub.registries import open_registry
from modhub.hub.search import Query
from modhub.hub.store import Store
from pathlib import Path
Path({str(tmp_path)!r}, "registry").mkdir()
client = Client({{"x": open_registry({str(tmp_path / "registry")!r})}}, store=Store(Path({str(tmp_path)!r})))
client.search(Query(text="cat"))
print([name for name in ("torch", "onnx", "onnxruntime", "numpy", "huggingface_hub", "rich") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_drive_of_windows_is_a_folder() -> None:
    assert isinstance(open_registry("C:\\modules"), DirectoryBackend)


@pytest.mark.skipif(sys.platform == "win32", reason="looks at POSIX paths")
def test_a_root_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = open_registry("./new")
    assert isinstance(backend, DirectoryBackend)
    assert backend.root == tmp_path / "new"
