"""`modhub resolve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, choosing_options, json_option, workspace_options
from modhub.cli.output import print_json, print_table, print_text, say
from modhub.cli.progress import waiting
from modhub.cli.project import shown, task_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modhub.cli.options import Choosing, Places
    from modhub.cli.project import Task
    from modhub.spec.lock import Lock
    from modhub.workspace.choices import Choice


@click.command(epilog="\b\nExample: modhub resolve 'modhub/resnet20-cifar10/cat>=1,<2' --explain")
@click.argument("requirements", nargs=-1)
@click.option("--output", "-o", type=PATH, help="Write the lock here; the versions of one that is there are kept.")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 when the lock does not hold any more.")
@click.option("--explain", is_flag=True, help="Say why each release was chosen.")
@choosing_options
@workspace_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    output: Path | None,
    check: bool,
    explain: bool,
    choosing: Choosing,
    places: Places,
    as_json: bool,
) -> int:
    """Choose exact releases for REQUIREMENTS; nothing is fetched.

    A requirement is owner/collection/name with a specifier (>=1.2,<2 or ^1.2), or class:NAME for any release that
    scores the class, with conditions: class:cat[min-f1=0.8,license=permissive]. ' @ REGISTRY' behind it takes it from
    there alone. Without any, those of modhub.toml count, or of modhub.lock. Exit code 1 when nothing satisfies them.
    """
    task = task_of(requirements, lock_file=output, choosing=choosing, places=places, what="resolve")
    if check:
        return report(task, as_json=as_json)
    with waiting("resolving"):
        lock = task.resolve(choosing)
    task.write(lock)
    print_lock(lock, task, explain=explain, as_json=as_json)
    return 0


def report(task: Task, *, as_json: bool) -> int:
    """Print in what the lock does not hold any more, and return the exit code.

    Raises:
        UsageError: there is no lock to check.
    """
    if task.old is None or task.lock_file is None:
        where = f"there is no {shown(task.lock_file)}" if task.lock_file else "say which with --output"
        raise click.UsageError(f"--check looks at a lock, and {where}.")
    found = task.differences(task.old)
    if as_json:
        print_json({"lock": str(task.lock_file), "holds": not found, "differences": list(found)})
    elif found:
        click.echo(f"{shown(task.lock_file)} does not hold any more:")
        for line in found:
            click.echo(f"  {line}")
        say("next: modhub resolve, which keeps every version that it can")
    else:
        click.echo(f"{shown(task.lock_file)} holds: {len(task.old.modules)} releases")
    return 1 if found else 0


def print_lock(lock: Lock, task: Task, *, explain: bool, as_json: bool) -> None:
    """Print a lock, or the reasons for what it holds, and what the licences in it ask for."""
    from modhub.spec.licences import warnings

    choices = task.workspace.explain(lock, old=task.old) if explain else ()
    if as_json:
        print_json(lock.to_dict() | ({"choices": [vars(choice) for choice in choices]} if explain else {}))
    elif explain:
        print_choices(choices)
    elif task.lock_file is None:
        click.echo(lock.to_toml(), nl=False)
    else:
        print_table([{"package": m.name, "version": m.version, "form": m.form} for m in lock.modules])
    parts = {f"{module.name} {module.version}": module.license for module in lock.modules if module.kind != "base"}
    for warning in warnings(parts):
        say(f"licence: {warning}")


def print_choices(choices: Sequence[Choice]) -> None:
    """Print each release with the reasons for it."""
    for choice in choices:
        click.echo(f"{choice.name} {choice.version} ({choice.form}, from {choice.registry})")
        for reason in choice.reasons:
            print_text(f"  {reason}")
