"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from modhub.errors import NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modhub.cli.settings import Settings
    from modhub.spec.lock import Lock
    from modhub.workspace import Workspace

    Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
store_option = click.option(
    "--store", type=PATH, envvar="MODHUB_STORE", help="Folder of fetched files; default: in the user's cache."
)


def output_option(text: str) -> Callable[[Command], Command]:
    """Return the option for the folder that a command writes."""
    return click.option("--output", "-o", type=PATH, required=True, help=text)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a command looks for packages.

    Args:
        registries: folders, addresses or configured names; none for the seed.
        store: folder of fetched files; None for the user's own.
        offline: read remote registries from the store only.
    """

    registries: tuple[str, ...]
    store: Path | None
    offline: bool

    def open(self, otherwise: Iterable[str] = ()) -> Workspace:
        """Return the workspace of these places; of other registries where none was named.

        Raises:
            UsageError: a registry's address has an unknown form.
            NotFound: a registry is a folder that is not there.
        """
        from modhub.hub.directory import DirectoryBackend
        from modhub.workspace import Workspace

        addresses = [address_of(name) for name in self.registries] or list(otherwise)
        workspace = Workspace.open(addresses, store=self.store, offline=self.offline)
        for name, backend in workspace.client.registries.items():
            if isinstance(backend, DirectoryBackend) and not backend.root.is_dir():
                raise NotFound(f"there is no registry {name!r}: no folder {backend.root}")
        return workspace


def workspace_options(command: Command) -> Command:
    """Add the options that say where packages come from, and pass them as `places`."""

    @functools.wraps(command)
    def collected(*args: Any, registries: tuple[str, ...], store: Path | None, offline: bool, **rest: Any) -> Any:
        return command(*args, places=Places(registries=registries, store=store, offline=offline), **rest)

    offline_option = click.option(
        "--offline", is_flag=True, envvar="MODHUB_OFFLINE", help="Read remote registries from the store only."
    )
    registry_option = click.option(
        "--registry",
        "-r",
        "registries",
        multiple=True,
        envvar="MODHUB_REGISTRY",
        help="Where to look: a folder, an address or a configured name. Repeatable. Default: the seed.",
    )
    return registry_option(store_option(offline_option(cast("Command", collected))))


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """How a command chooses releases: what to prefer, whether pre-releases will do, whether old versions may go."""

    prefer: str
    pre: bool
    upgrade: bool

    def resolve(self, requirements: Sequence[str], workspace: Workspace, *, old: Lock | None) -> Lock:
        """Return the lock that satisfies the requirements, with the versions of an old one where they fit."""
        from modhub import flow
        from modhub.resolver.options import Options

        options = Options(prefer=self.prefer, allow_prerelease=self.pre)
        return flow.resolve(requirements, workspace=workspace, old=None if self.upgrade else old, options=options)


def choosing_options(command: Command) -> Command:
    """Add the options that say how to choose, and pass them as `choosing`."""

    @functools.wraps(command)
    def collected(*args: Any, prefer: str, pre: bool, upgrade: bool, **rest: Any) -> Any:
        return command(*args, choosing=Choosing(prefer=prefer, pre=pre, upgrade=upgrade), **rest)

    upgrade_option = click.option("--upgrade", is_flag=True, help="Do not keep the versions of an existing lock file.")
    prefer_option = click.option(
        "--prefer",
        type=click.Choice(["accuracy", "size", "newest"]),
        default="accuracy",
        show_default=True,
        help="Which provider of a class wins.",
    )
    pre_option = click.option("--pre", is_flag=True, help="Take pre-releases too.")
    return upgrade_option(prefer_option(pre_option(cast("Command", collected))))


def settings() -> Settings:
    """Return the settings of the command at work."""
    found: Settings = click.get_current_context().find_root().obj["settings"]
    return found


def address_of(registry: str) -> str:
    """Return a registry's address where a configured name was given."""
    return settings().registries.get(registry, registry)


def check_free(output: Path) -> None:
    """Check that a folder can be written before the work for it begins.

    Raises:
        UsageError: something of that name is there.
        StorageError: it may not be written.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"{output} is there already: choose another --output, or delete it first")
    parent = next(folder for folder in output.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise StorageError(
            f"cannot write {output}: {parent} {'may not be written' if parent.is_dir() else 'is a file'}"
        )
