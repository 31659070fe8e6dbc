from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from modhub.datasets import load_dataset
from modhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLE = b"1,2,cat\n3,4,dog\n"
PROGRAM = """
import sys
from modhub.datasets import load_dataset
from modhub.errors import ModhubError
try:
    print(load_dataset(sys.argv[1]))
except ModhubError as error:
    print(type(error).__name__)
"""


class Hub(BaseHTTPRequestHandler):
    """The one route of the Hub that a download takes, for one file at two revisions."""

    paths = ("/datasets/acme/pets/resolve/main/data/a.csv", "/datasets/acme/pets/resolve/v1/data/a.csv")

    def do_HEAD(self) -> None:
        found = self.path in self.paths
        self.send_response(200 if found else 400 if "/secrets/" in self.path else 404)
        if found:
            self.send_header("ETag", '"0123456789"')
            self.send_header("X-Repo-Commit", "c" * 40)
        elif "/secrets/" not in self.path:
            self.send_header("X-Error-Code", "EntryNotFound" if "/pets/" in self.path else "RepoNotFound")
        self.send_header("Content-Length", str(len(TABLE)) if found else "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path in self.paths:
            self.wfile.write(TABLE)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def load_elsewhere(source: str, *, endpoint: str, home: Path, offline: str = "0") -> str:
    """Return what loading prints in a process of its own: the Hub's client reads its settings once, when it starts."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": offline, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", PROGRAM, source]
    done = subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("revision", ["", "@v1"])
def test_a_file_on_the_hub_is_read_as_a_local_one(endpoint: str, tmp_path: Path, revision: str) -> None:
    found = load_elsewhere(f"hf://datasets/acme/pets{revision}/data/a.csv", endpoint=endpoint, home=tmp_path)
    assert found == "<Dataset 'a': 2 samples of float32 [2], 2 classes>"


@pytest.mark.parametrize("path", ["acme/pets/data/b.csv", "acme/cars/data/a.csv", "acme/pets@v9/data/a.csv"])
def test_what_the_hub_does_not_have_is_not_found(endpoint: str, tmp_path: Path, path: str) -> None:
    assert load_elsewhere(f"hf://datasets/{path}", endpoint=endpoint, home=tmp_path) == "NotFound"


def test_a_hub_that_refuses_is_a_hub_error(endpoint: str, tmp_path: Path) -> None:
    assert load_elsewhere("hf://datasets/acme/secrets/a.csv", endpoint=endpoint, home=tmp_path) == "HubError"


def test_being_offline_is_a_hub_error(endpoint: str, tmp_path: Path) -> None:
    source = "hf://datasets/acme/pets/data/a.csv"
    assert load_elsewhere(source, endpoint=endpoint, home=tmp_path, offline="1") == "HubError"


@pytest.mark.parametrize(
    "source",
    ["hf://acme/pets/a.csv", "hf://datasets/acme", "hf://datasets/acme/pets", "hf://datasets/acme/pets@/a.csv"],
)
def test_an_address_without_a_file_says_the_form(source: str) -> None:
    with pytest.raises(UsageError, match=r"expected hf://datasets/OWNER/NAME\[@REVISION\]/PATH/TO/FILE$"):
        load_dataset(source)


def test_a_name_that_the_hub_does_not_allow_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="names no file of a data set"):
        load_dataset("hf://datasets/ac me/pets--x/a.csv")
