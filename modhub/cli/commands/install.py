"""`modhub install`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, choosing_options, fetching_options, json_option
from modhub.cli.output import byte_size, print_json, print_table, say
from modhub.cli.progress import waiting
from modhub.cli.project import shown, task_of
from modhub.errors import NotFound, ResolveError

if TYPE_CHECKING:
    from modhub.cli.options import Choosing, Places
    from modhub.cli.project import Task

LOCK_FILE = "modhub.lock"


@click.command(epilog="\b\nExample: modhub install modhub/resnet20-cifar10/cat class:dog")
@click.argument("requirements", nargs=-1)
@click.option("--locked", is_flag=True, help="Install exactly what the lock file says, or fail.")
@click.option("--lock", "lock_file", type=PATH, help="The lock file.  [default: modhub.lock]")
@choosing_options
@fetching_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    locked: bool,
    lock_file: Path | None,
    choosing: Choosing,
    places: Places,
    as_json: bool,
) -> None:
    """Resolve REQUIREMENTS, fetch and verify what they need, and write the lock file.

    Every byte is hashed before it counts. Without REQUIREMENTS those of modhub.toml or of the existing lock file are
    used, and its versions are kept where they fit. With --locked nothing is resolved. With --trust, what is signed must
    be signed by one of these keys, OWNER=FILE for one owner's packages only.
    """
    from modhub import flow
    from modhub.workspace import Project

    if Project.of(requirements) is None:
        lock_file = lock_file or Path(LOCK_FILE)
        if locked and not requirements and not lock_file.exists():
            raise NotFound(f"there is no {lock_file}: run it once without --locked")
    task = task_of(requirements, lock_file=lock_file, choosing=choosing, places=places, what="install")
    check_usage(task, locked=locked, is_named=bool(requirements) and task.project is None)
    if task.old is not None and (locked or (task.project is not None and task.fits and not choosing.upgrade)):
        lock = task.old
    else:
        with waiting("resolving"):
            lock = task.resolve(choosing)
    with waiting("fetching") as progress:
        packages = flow.install(lock, workspace=task.workspace, progress=progress)
    task.write(lock)
    if as_json:
        print_json(lock.to_dict())
        return
    print_table(
        [
            {"package": m.name, "version": m.version, "form": m.form, "size": byte_size(packages[m.name].size)}
            for m in lock.modules
        ]
    )
    say(f"next: modhub compose {shown(task.lock_file) if task.lock_file else LOCK_FILE} -o composed")


def check_usage(task: Task, *, locked: bool, is_named: bool) -> None:
    """Check that the options mean something together.

    Raises:
        UsageError: they do not.
        ResolveError: the lock does not hold for the recipe.
    """
    if locked and is_named:
        raise click.UsageError("--locked installs what the lock file says: leave the requirements out.")
    if locked and task.old is None:
        raise NotFound(f"there is no {task.lock_file}: run it once without --locked")
    if locked and not task.fits:
        raise ResolveError(f"{task.lock_file} is not for the recipe as it is now: see `modhub resolve --check`")
