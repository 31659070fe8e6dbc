"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub.workspace import Workspace

    Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

PATH = click.Path(path_type=Path)


def workspace_options(command: Command) -> Command:
    """Add the options that say where packages come from; `workspace_of` reads them."""
    command = click.option("--offline", is_flag=True, help="Use only what the store holds.")(command)
    command = click.option(
        "--store", type=PATH, envvar="MODHUB_STORE", help="Folder of fetched files; default: the user's cache folder."
    )(command)
    return click.option(
        "--registry",
        "-r",
        "registries",
        multiple=True,
        envvar="MODHUB_REGISTRY",
        help="Where to look: a folder, hf://, http(s)://... or a configured name. Repeatable. Default: the seed.",
    )(command)


def workspace_of(registries: tuple[str, ...], *, store: Path | None, offline: bool) -> Workspace:
    """Return the workspace that the options describe."""
    from modhub.workspace import Workspace

    return Workspace.open(registries, store=store, offline=offline)
