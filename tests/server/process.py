"""A registry in a process of its own, started as people start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub_registry.settings import Settings
from modhub_registry.storage.registry import open_registry
from tests.server.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = "from modhub.cli import main; main()"
SECRETS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@dataclass
class Process:
    """A server, and the process that it is."""

    service: Service
    running: subprocess.Popen[str]

    def kill(self) -> None:
        """End it as a power cut would."""
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()


@contextmanager
def process(root: Path, *options: str) -> Iterator[Process]:
    """Run `modhub serve` while the block runs."""
    command = [sys.executable, "-c", START, "--debug", "serve", str(root), "--port", "0", "--json", *options]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **SECRETS})
    assert running.stdout is not None
    told = ""
    try:
        for line in running.stdout:
            told += line
            if line == "}\n":
                break
        chosen = dict(zip(options[::2], options[1::2], strict=True))
        settings = Settings(root=root, database=chosen.get("--database", ""), store=chosen.get("--store", ""))
        registry = open_registry(settings)
        yield Process(Service(json.loads(told)["url"], registry), running)
        registry.close()
    finally:
        running.terminate()
        running.wait(30)
        running.stdout.close()
