"""ONNX Runtime's build for the web, fetched from npm once."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.needed import lacking

if TYPE_CHECKING:
    import pytest

WEB_VERSION = "1.30.0"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def onnxruntime_web(config: pytest.Config) -> Path:
    """Return a folder with ONNX Runtime's build for the web; kept from one run of the tests to the next."""
    npm = shutil.which("npm")
    if config.cache is None or npm is None:
        lacking("node", "npm is not on the path")
    folder = Path(config.cache.mkdir(f"onnxruntime-web-{WEB_VERSION}"))
    if not all((folder / name).is_file() for name in RUNTIME_FILES):
        command = [npm, "pack", "--silent", f"onnxruntime-web@{WEB_VERSION}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            lacking("node", f"npm cannot fetch onnxruntime-web: {done.stderr[:200]}")
        archive = folder / f"onnxruntime-web-{WEB_VERSION}.tgz"
        with tarfile.open(archive) as files:
            for name in RUNTIME_FILES:
                member = files.extractfile(f"package/dist/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())
        archive.unlink()
    return folder
