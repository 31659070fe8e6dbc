"""The code on a page, and how to run it: as a reader would, from top to bottom, in one folder.

================= ==================================================================================================
``console``       lines after ``$`` are typed; lines without have to be in what was answered, in this order, and
                  ``...`` stands for anything
``python``        is run, with the names of the blocks before it; doctest runs those that begin with ``>>>``
any other         is only shown, unless a comment says ``<!-- file: NAME -->``: then it is written there
================= ==================================================================================================

``<!-- not run: REASON -->`` in front of a block leaves it out. A command that ends in ``&`` stays until the page ends.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^>]*?) -->\n)?^```(?P<kind>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
RUN = ("console", "python")
PORT = "8000"
"""The port on the pages; another one is free here."""

QUICKLY = {"decompose": ["--keep", "0.9"], "train": ["--epochs", "1"]}
"""Added to a command so that it ends within a test; a person leaves it out."""

SHELL = re.compile(r"[|&;<>$`]")
TOKEN = re.compile(r"export (\w+)=\$\((.*)\)")
PATIENCE = 60


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the comment in front of it."""

    line: int
    note: str
    kind: str
    text: str

    @property
    def is_run(self) -> bool:
        """Whether its code is run here."""
        return self.kind in RUN and not self.note.startswith("not run:") and not self.text.startswith(">>>")


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 1, found["note"] or "", found["kind"], found["text"])
        for found in BLOCK.finditer(text)
    ]


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a console block, and the lines that are shown of their answers."""
    typed, shown = "", list[str]()
    for line in block.text.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            if typed:
                yield typed, shown
            typed, shown = line[2:].partition("  #")[0].strip(), []
        else:
            shown.append(line)
    yield typed, shown


def free_port() -> str:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@dataclass
class Reader:
    """Somebody who reads a page and does what it says, in the folder that is current."""

    capture: pytest.CaptureFixture[str]
    variables: dict[str, str] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    servers: list[subprocess.Popen[str]] = field(default_factory=list)
    port: str = field(default_factory=free_port)

    def follow(self, page: Path) -> int:
        """Do all that a page says, and return how many commands and pieces of code that was."""
        count = 0
        for block in blocks_of(page):
            where = f"{page.name}, line {block.line}"
            if block.note.startswith("file: "):
                Path(block.note.removeprefix("file: ")).write_text(block.text, encoding="utf-8")
            if block.is_run and block.kind == "python":
                exec(compile(block.text, where, "exec"), self.names)  # noqa: S102  The code of our own pages.
                count += 1
            elif block.is_run:
                for command, shown in commands_of(block):
                    self.type(command.replace(PORT, self.port), shown, where=where)
                    count += 1
        return count

    def type(self, command: str, shown: list[str], *, where: str) -> None:
        """Run a command, and look for what is shown of its answer."""
        token = TOKEN.fullmatch(command)
        if command.endswith("&"):
            self.servers.append(self._start(command.rstrip("& ")))
            return
        code, answer = self._answer(token[2] if token else command)
        assert code == 0, f"{where}: {command}\n{answer}"
        if token:
            self.variables[token[1]] = os.environ[token[1]] = answer.split()[0]
        position = 0
        for text in filter(None, (text.strip() for line in shown for text in line.split("..."))):
            position = answer.find(text.replace(PORT, self.port), position)
            assert position >= 0, f"{where}: {command}\nshows {text!r}, the answer was\n{answer}"

    def _answer(self, command: str) -> tuple[int, str]:
        """Return the exit code of a command and what it printed; ours run in this process, which is faster."""
        words = shlex.split(command)
        if words[0] == "modhub" and not SHELL.search(command):
            self.capture.readouterr()
            code = run([*words[1:], *QUICKLY.get(words[1], [])])
            told = self.capture.readouterr()
            return code, told.out + told.err
        done = subprocess.run(
            ["/bin/bash", "-c", command], env=environment(), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def _start(self, command: str) -> subprocess.Popen[str]:
        server = subprocess.Popen(shlex.split(command), env=environment(), stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and server.poll() is None:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", int(self.port))) == 0:
                    return server
            time.sleep(0.1)
        raise AssertionError(f"{command} does not answer at port {self.port}")

    def close(self) -> None:
        """Stop what still runs, and forget what was exported."""
        for server in self.servers:
            server.terminate()
            server.communicate()
        for name in self.variables:
            os.environ.pop(name, None)


def environment() -> dict[str, str]:
    """Return the environment in which `modhub` is the one that is tested."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
