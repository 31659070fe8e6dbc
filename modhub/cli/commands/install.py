"""`modhub install`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, choosing_options, json_option, workspace_options
from modhub.cli.output import byte_size, print_json, print_table, say

if TYPE_CHECKING:
    from modhub.cli.options import Choosing, Places
    from modhub.spec.lock import Lock


@click.command(epilog="\b\nExample: modhub install modhub/resnet20-cifar10/cat class:dog")
@click.argument("requirements", nargs=-1)
@click.option("--locked", is_flag=True, help="Install exactly what the lock file says, or fail.")
@click.option("--lock", "lock_file", type=PATH, default=Path("modhub.lock"), show_default=True, help="The lock file.")
@choosing_options
@workspace_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    locked: bool,
    lock_file: Path,
    choosing: Choosing,
    places: Places,
    as_json: bool,
) -> None:
    """Resolve REQUIREMENTS, fetch and verify what they need, and write the lock file.

    Every byte is hashed before it counts. Without REQUIREMENTS those of the existing lock file are used, and its
    versions are kept where they fit. With --locked nothing is resolved.
    """
    from modhub import flow, fsops
    from modhub.workspace import read_lock

    old = read_lock(lock_file) if locked or lock_file.exists() else None
    check_usage(requirements, locked=locked, old=old, lock_file=lock_file)
    workspace = places.open(registries_of(old, requirements))
    if locked and old is not None:
        lock = old
    else:
        asked = requirements or (old.requirements if old else ())
        lock = choosing.resolve(asked, workspace, old=old)
    packages = flow.install(lock, workspace=workspace)
    if lock is not old:
        fsops.replace_file(lock_file, lock.to_toml().encode())
        say(f"wrote {lock_file}")
    if as_json:
        print_json(lock.to_dict())
        return
    print_table(
        [
            {"package": m.name, "version": m.version, "form": m.form, "size": byte_size(packages[m.name].size)}
            for m in lock.modules
        ]
    )
    say(f"next: modhub compose {lock_file} -o composed")


def check_usage(requirements: tuple[str, ...], *, locked: bool, old: Lock | None, lock_file: Path) -> None:
    """Check that the options mean something together.

    Raises:
        UsageError: they do not.
    """
    if not requirements and old is None:
        raise click.UsageError(f"Say what to install, or run it where there is a {lock_file}.")
    if locked and requirements:
        raise click.UsageError("--locked installs what the lock file says: leave the requirements out.")


def registries_of(old: Lock | None, requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Return where to look when nobody says: where an existing lock did, if it is asked for again."""
    return tuple(dict.fromkeys(m.registry for m in old.modules)) if old is not None and not requirements else ()
