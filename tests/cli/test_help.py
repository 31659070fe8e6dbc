"""Help fits a screen, and its examples are commands that exist."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
import pytest

from modhub.cli.main import COMMANDS, find_command
from modhub.decomposers.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]

COLUMNS, LINES = 80, 40
LONGER = {"decompose": 48}
"""Commands that take a model, data, a method and what to say of the packages."""
FRONT_LINES = 54
"""The first page lists every command, a line each."""


def command_of(name: str) -> click.Command:
    """Return a command."""
    found = find_command(name)
    assert found is not None
    return found


def leaves(command: click.Command) -> list[click.Command]:
    """Return a command, or for a group all commands below it."""
    if not isinstance(command, click.Group):
        return [command]
    context = click.Context(command)
    inner = [command.get_command(context, name) for name in command.list_commands(context)]
    return [leaf for each in inner if each is not None for leaf in leaves(each)]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", str(LINES))


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_screen(call: Call, name: str) -> None:
    answer = call(*([name] if name else []), "--help")
    lines = answer.out.splitlines()
    assert (answer.code, answer.err) == (0, "")
    assert len(lines) <= (LONGER.get(name, LINES) if name else FRONT_LINES)
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    for option in command_of(name).params:
        assert isinstance(option, click.Argument) or option.help, option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_can_be_typed(call: Call, name: str) -> None:
    help_text = call(name, "--help").out
    example = shlex.split(help_text.rpartition("Example: ")[2].replace("\\\n", " "))
    assert example[:2] == ["modhub", name]
    # Parsing fails on unknown options and on values of the wrong kind.
    command_of(name).make_context(name, example[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_reports_as_json(name: str) -> None:
    for command in leaves(command_of(name)):
        assert any("--json" in option.opts for option in command.params), command.name


def test_the_commands_tell_the_story_in_order(call: Call) -> None:
    listed = call("--help").out.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed[1 : len(COMMANDS) + 1]] == list(COMMANDS)


def test_what_help_says_of_defaults_is_so(call: Call) -> None:
    text = call("decompose", "--help").out
    defaults = Options()
    assert f"default: {defaults.max_loss}." in text
    assert f"default: {defaults.keep}." in text


def test_the_version_is_told(call: Call) -> None:
    assert call("--version").out.startswith("modhub, version ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(call: Call, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("COMP_WORDS", "modhub re")
    monkeypatch.setenv("COMP_CWORD", "1" if shell != "fish" else "re")
    monkeypatch.setenv("_MODHUB_COMPLETE", f"{shell}_complete")
    with pytest.raises(SystemExit) as end:
        call()
    assert end.value.code == 0
