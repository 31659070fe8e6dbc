"""`modhub resolve`."""

from __future__ import annotations

from pathlib import Path

import click

from modhub.cli.options import PATH, json_option, workspace_of, workspace_options
from modhub.cli.output import print_json, print_table, say


@click.command(epilog="Example: modhub resolve 'modhub/resnet20-cifar10/cat>=1,<2' class:dog -o modhub.lock")
@click.argument("requirements", nargs=-1, required=True)
@click.option("--output", "-o", type=PATH, help="Write the lock here.")
@click.option("--explain", is_flag=True, help="Say why each release was chosen.")
@workspace_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    output: Path | None,
    explain: bool,
    registries: tuple[str, ...],
    store: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Choose exact releases for REQUIREMENTS; nothing is fetched.

    A requirement is owner/collection/name with a version specifier (>=1.2,<2 or ^1.2), or class:NAME for any release
    that scores the class. Exit code 1 when nothing satisfies them all; the conflict is told in sentences.
    """
    from modhub import flow, fsops

    lock = flow.resolve(requirements, workspace=workspace_of(registries, store=store, offline=offline))
    if output is not None:
        fsops.replace_file(output, lock.to_toml().encode())
        say(f"wrote {output}")
    if as_json:
        print_json(lock.to_dict())
    elif output is None and not explain:
        click.echo(lock.to_toml(), nl=False)
    else:
        rows = [
            {"package": module.name, "version": module.version, "form": module.form, "because": "; ".join(module.why)}
            for module in lock.modules
        ]
        print_table(rows)
