"""A process that publishes to a server, to be killed: ``python -m tests.hub.publisher URL TOKEN VERSION FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from modhub.hub.client import Client
from modhub.hub.huggingface import HuggingFaceBackend
from modhub.hub.store import Store
from tests.hub.packages import PETS, module

LARGE = 20 << 20


def main(url: str, token: str, version: str, folder: str) -> None:
    """Publish one release with a file that goes ahead of the commit, and one that travels inside it."""
    backend = HuggingFaceBackend.of_server(url).with_token(token)
    large = module(version=version, content=version.encode() + bytes(LARGE))
    Client({"it": backend}, store=Store(Path(folder))).publish(PETS, [large, module("dog", version)])


if __name__ == "__main__":
    main(*sys.argv[1:])
