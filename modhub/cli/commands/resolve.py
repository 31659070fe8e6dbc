"""`modhub resolve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, choosing_options, json_option, workspace_options
from modhub.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modhub.cli.options import Choosing, Places
    from modhub.workspace.choices import Choice


@click.command(epilog="\b\nExample: modhub resolve 'modhub/resnet20-cifar10/cat>=1,<2' --explain")
@click.argument("requirements", nargs=-1, required=True)
@click.option("--output", "-o", type=PATH, help="Write the lock here; the versions of one that is there are kept.")
@click.option("--explain", is_flag=True, help="Say why each release was chosen.")
@choosing_options
@workspace_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    output: Path | None,
    explain: bool,
    choosing: Choosing,
    places: Places,
    as_json: bool,
) -> None:
    """Choose exact releases for REQUIREMENTS; nothing is fetched.

    A requirement is owner/collection/name with a version specifier (>=1.2,<2 or ^1.2), or class:NAME for any release
    that scores the class, with conditions in brackets: class:cat[min-f1=0.8]. Exit code 1 when nothing satisfies them
    all; the conflict is told in sentences.
    """
    from modhub import fsops
    from modhub.workspace import read_lock

    workspace = places.open()
    old = read_lock(output) if output is not None and output.exists() and not choosing.upgrade else None
    lock = choosing.resolve(requirements, workspace, old=old)
    if output is not None:
        fsops.replace_file(output, lock.to_toml().encode())
        say(f"wrote {output}")
    choices = workspace.explain(lock, old=old) if explain else ()
    if as_json:
        print_json(lock.to_dict() | ({"choices": [vars(choice) for choice in choices]} if explain else {}))
    elif explain:
        print_choices(choices)
    elif output is None:
        click.echo(lock.to_toml(), nl=False)
    else:
        print_table([{"package": m.name, "version": m.version, "form": m.form} for m in lock.modules])


def print_choices(choices: Sequence[Choice]) -> None:
    """Print each release with the reasons for it."""
    for choice in choices:
        click.echo(f"{choice.name} {choice.version} ({choice.form}, from {choice.registry})")
        for reason in choice.reasons:
            click.echo(f"  {reason}")
