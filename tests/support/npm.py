"""Files of packages from npm, fetched once."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from modhub import fsops
from tests.support.needed import lacking

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

RUNTIME = ("onnxruntime-web", "1.30.0")
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def onnxruntime_web(config: pytest.Config | None) -> Path:
    """Return a folder with ONNX Runtime's build for the web; see `from_npm`."""
    return from_npm(config, RUNTIME, [f"dist/{name}" for name in RUNTIME_FILES])


def from_npm(config: pytest.Config | None, package: tuple[str, str], names: Sequence[str]) -> Path:
    """Return a folder with files of a package from npm; kept from one run of the tests to the next.

    Args:
        config: of the tests; without its cache the files are fetched anew, and left in a folder for passing things.
        package: its name and version.
        names: paths in the package; the folder holds them without their own folders.
    """
    name, version = package
    cache = getattr(config, "cache", None)
    folder = cache.mkdir(name) / version if cache is not None else Path(tempfile.mkdtemp(prefix=name)) / version
    with fsops.locked(folder.with_suffix(".lock"), patience_s=240):
        if not folder.is_dir():
            _fetch(f"{name}@{version}", folder, names)
    return folder


def _fetch(package: str, folder: Path, names: Sequence[str]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        lacking("node", "npm is not on the path")
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        fresh = Path(place) / "files"
        fresh.mkdir()
        command = [npm, "pack", "--silent", package]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            lacking("node", f"npm cannot fetch {package}: {done.stderr[:200]}")
        with tarfile.open(next(Path(place).glob("*.tgz"))) as files:
            for name in names:
                member = files.extractfile(f"package/{name}")
                assert member is not None, name
                (fresh / Path(name).name).write_bytes(member.read())
        fresh.rename(folder)
