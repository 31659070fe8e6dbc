"""What a person typed, to be shown so that it can be typed again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from pathlib import Path


def command_line() -> str:
    """Return the command at work with the options that were given, in the order of its help.

    Defaults are left out; what came from a variable or the settings file is written out.
    """
    context = click.get_current_context()
    words = ["modhub", context.info_name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        value = context.params.get(name)
        if source in (None, ParameterSource.DEFAULT) or value is None or value is False:
            continue
        values = value if isinstance(value, (tuple, list)) else [value]
        if isinstance(parameter, click.Option):
            long = max(parameter.opts, key=len)
            words += [long] if value is True else [word for item in values for word in (long, str(item))]
        else:
            words[2:2] = [str(item) for item in values]
    return shlex.join(words)


def commands_of(output: Path, *, data: str) -> list[str]:
    """Return what to type to get the modules of `decompose` again, and to go on with them."""
    quoted, target = shlex.quote(str(output)), shlex.quote(data)
    return [
        command_line(),
        f"modhub check {quoted}",
        f"modhub plot {quoted} -o pictures.png",
        f"modhub compose {quoted} -o composed",
        f"modhub evaluate composed --data {target} --report evaluation.html",
        f"modhub publish {quoted} --to ./registry",
    ]
