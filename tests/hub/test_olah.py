"""Behind olah, a read-only mirror of the Hub that others wrote; it is installed for this test, beside everything."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from modhub.hub.client import Client
from modhub.hub.store import Store
from tests.hub.packages import NOWHERE, PETS, base_package, module
from tests.hub.served import served

OLAH = "olah==0.5.4"
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180

PROGRAM = """
import json, sys
from pathlib import Path
from modhub.hub.client import Client
from modhub.hub.registries import open_registry
from modhub.hub.store import Store
from tests.hub.packages import PETS, check_whole, lock_of
hub = open_registry("hf://acme/pets")
client = Client({"hub": hub}, store=Store(Path(sys.argv[1])))
files = client.fetch(lock_of(client.snapshot(PETS)))
print(json.dumps([hub.place, check_whole(hub).revision, sorted(files)]))
"""


@pytest.mark.slow
def test_collections_are_read_behind_a_mirror(tmp_path: Path) -> None:
    python = install(tmp_path / "environment")
    with served(tmp_path / "served") as running:
        base = base_package()
        publisher = Client({"it": running.backend()}, store=Store(NOWHERE))
        publisher.publish(PETS, [base, module(base=base), module("dog", base=base)])
        port = free_port()
        upstream = running.url.removeprefix("http://")
        mirror = f"127.0.0.1:{port}"
        options = {
            "--hf-scheme": "http", "--hf-netloc": upstream, "--hf-lfs-netloc": upstream, "--mirror-scheme": "http",
            "--mirror-netloc": mirror, "--mirror-lfs-netloc": mirror, "--repos-path": tmp_path / "repos",
            "--log-path": tmp_path / "logs", "--host": "127.0.0.1", "--port": port,
        }  # fmt: skip
        words = [str(word) for pair in options.items() for word in pair]
        process = subprocess.Popen(
            [python, "-m", "olah.server", *words],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port)
            environment = {**os.environ, "HF_ENDPOINT": f"http://{mirror}", "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-c", PROGRAM, str(tmp_path / "store")]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE_S
            )
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
    names = ["acme/pets/base", "acme/pets/cat", "acme/pets/dog"]
    assert json.loads(done.stdout) == [f"hf://acme/pets at http://{mirror}", 1, names]


def install(folder: Path) -> Path:
    """Return the Python of an environment that has olah."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", OLAH]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"NOT TESTED: reading behind a mirror; {OLAH} cannot be installed here: {error}")
    return python


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the mirror does not start"
            time.sleep(0.1)
        else:
            return
