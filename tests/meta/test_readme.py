"""The README's commands are run as they stand, in their order, in one folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modhub.cli.main import COMMANDS, run

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
QUICKLY = {"decompose": ["--steps", "2", "--keep", "0.7", "--max-loss", "100"]}
"""Added to a command so that it ends within a test; a person leaves it out."""


def commands() -> list[str]:
    """Return every `modhub` command of the README."""
    lines = [line for block in BLOCK.findall(README.read_text("utf-8")) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ modhub ")]


@pytest.mark.slow
def test_every_command_of_the_readme_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = commands()
    assert len(found) >= 8
    for command in found:
        words = shlex.split(command)[1:]
        status = run([*words, *QUICKLY.get(words[0], [])])
        output = capsys.readouterr()
        assert status == 0, f"{command}\n{output.out}\n{output.err}"


def test_the_readme_shows_no_command_that_does_not_exist() -> None:
    assert {shlex.split(command)[1] for command in commands()} <= set(COMMANDS)
