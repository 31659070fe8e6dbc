"""`modhub install`."""

from __future__ import annotations

from pathlib import Path
import click

from modhub.cli.options import PATH, json_option, workspace_of, workspace_options
from modhub.cli.output import byte_size, print_json, print_table, say


@click.command(epilog="Example: modhub install modhub/resnet20-cifar10/cat class:dog")
@click.argument("requirements", nargs=-1)
@click.option("--locked", is_flag=True, help="Install exactly what the lock file says, or fail.")
@click.option("--lock", "lock_file", type=PATH, default=Path("modhub.lock"), show_default=True, help="The lock file.")
@click.option("--upgrade", is_flag=True, help="Do not keep the versions of an existing lock file.")
@workspace_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    locked: bool,
    lock_file: Path,
    upgrade: bool,
    registries: tuple[str, ...],
    store: Path | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Resolve REQUIREMENTS, fetch and verify what they need, and write the lock file.

    Every byte is hashed before it counts. With --locked nothing is resolved. Without REQUIREMENTS those of the existing
    lock file are used.
    """
    from modhub import flow, fsops
    from modhub.workspace import read_lock

    old = read_lock(lock_file) if locked or lock_file.is_file() else None
    if not requirements and old is None:
        raise click.UsageError(f"say what to install, or run it beside a {lock_file}")
    if locked and requirements:
        raise click.UsageError("--locked installs what the lock file says: leave the requirements out")
    chosen = registries or (tuple({m.registry for m in old.modules}) if old is not None and not requirements else ())
    workspace = workspace_of(chosen, store=store, offline=offline)
    if locked:
        assert old is not None
        lock = old
    else:
        asked = requirements or (old.requirements if old else ())
        lock = flow.resolve(asked, workspace=workspace, old=None if upgrade else old)
    packages = flow.install(lock, workspace=workspace)
    if not locked:
        fsops.replace_file(lock_file, lock.to_toml().encode())
        say(f"wrote {lock_file}")
    if as_json:
        print_json(lock.to_dict())
        return
    rows = [
        {"package": m.name, "version": m.version, "form": m.form, "size": byte_size(packages[m.name].size)}
        for m in lock.modules
    ]
    print_table(rows)
    say(f"next: modhub compose {lock_file} -o composed")
