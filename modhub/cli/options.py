"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from modhub.errors import NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from modhub.cli.settings import Settings
    from modhub.hub.signed_index import Trust
    from modhub.spec.lock import Lock, Request
    from modhub.workspace import Workspace
    from modhub.workspace.signatures import Signatures

    Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
store_option = click.option(
    "--store", type=PATH, envvar="MODHUB_STORE", help="Folder of fetched files; default: in the user's cache."
)


trust_option = click.option(
    "--trust",
    "trusted",
    multiple=True,
    metavar="[OWNER=]FILE",
    envvar="MODHUB_TRUST",
    help="A public key to believe, in PEM form. Repeatable.",
)
require_option = click.option(
    "--require-signature",
    is_flag=True,
    envvar="MODHUB_REQUIRE_SIGNATURE",
    help="Refuse what no trusted key signed.",
)


def output_option(text: str, *, required: bool = True) -> Callable[[Command], Command]:
    """Return the option for the folder that a command writes."""
    return click.option("--output", "-o", type=PATH, required=required, help=text)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a command looks for packages.

    Args:
        registries: folders, addresses or configured names; none for the seed.
        store: folder of fetched files; None for the user's own.
        offline: read remote registries from the store only.
        trusted: public keys, as ``OWNER=FILE`` or ``FILE``.
        require_signature: whether what is installed must be signed by one of them.
    """

    registries: tuple[str, ...]
    store: Path | None
    offline: bool
    trusted: tuple[str, ...] = ()
    require_signature: bool = False

    def open(
        self, otherwise: Iterable[str] = (), *, names: Mapping[str, str] | None = None, needed: bool = True
    ) -> Workspace:
        """Return the workspace of these places; of other registries where none was named.

        Args:
            otherwise: the other registries.
            names: addresses by names that requirements may use, beside those of the settings file.
            needed: whether folders have to be there; what a lock pins may lie in the store, wherever it came from.

        Raises:
            UsageError: a registry's address has an unknown form, or a file holds no public key.
            NotFound: a registry is a folder that is not there, or a key is not.
        """
        from modhub.workspace import Workspace

        known = {**settings().registries, **(names or {})}
        addresses = [known.get(name, name) for name in self.registries or otherwise]
        workspace = Workspace.open(
            addresses,
            store=self.store,
            offline=self.offline,
            named=bool(self.registries),
            names=known,
            signatures=self._signatures(),
            signed=signed_registries(),
        )
        if needed:
            check_present(workspace)
        return workspace

    def _signatures(self) -> Signatures | None:
        """Return what is asked of signatures; None where nothing is."""
        if not self.trusted and not self.require_signature:
            return None
        from modhub.package.signing import TrustedKey
        from modhub.workspace.signatures import Signatures

        keys = tuple(TrustedKey.parse(text) for text in self.trusted)
        return Signatures(keys=keys, required=self.require_signature)


def signed_registries() -> dict[str, Trust]:
    """Return whom to believe about the indexes of registries, by their addresses, as the settings say it."""
    if not settings().signed:
        return {}
    from modhub.hub.signed_index import Trust

    return {
        address_of(name): Trust(root=Path(places["root"]).expanduser(), location=places["index"])
        for name, places in settings().signed.items()
    }


def check_present(workspace: Workspace) -> None:
    """Check that the registries of a workspace that are folders are there.

    Raises:
        NotFound: one is not.
    """
    from modhub.hub.directory import DirectoryBackend

    for name, backend in workspace.client.registries.items():
        if isinstance(backend, DirectoryBackend) and not backend.root.is_dir():
            raise NotFound(f"there is no registry {name!r}: no folder {backend.root}")


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


def fetching_options(command: Command) -> Command:
    """Add `workspace_options` and those that say whose packages may be fetched, all as `places`."""

    @functools.wraps(command)
    def collected(*args: Any, trusted: tuple[str, ...], require_signature: bool, places: Places, **rest: Any) -> Any:
        places = dataclasses.replace(places, trusted=trusted, require_signature=require_signature)
        return command(*args, places=places, **rest)

    return trust_option(require_option(workspace_options(cast("Command", collected))))


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """How a command chooses releases. What is None was left open: a recipe or an existing lock says it.

    Args:
        prefer: which provider of a class wins.
        pre: whether pre-releases will do.
        apart: whether the modules need not fit into one model.
        upgrade: names of packages whose newest releases are wanted, `EVERYTHING` for all.
        licenses: what is allowed.
        min_f1: the least F1 of a module.
        max_size: the most bytes of a module.
    """

    prefer: str | None = None
    pre: bool | None = None
    apart: bool | None = None
    upgrade: tuple[str, ...] = ()
    licenses: tuple[str, ...] | None = None
    min_f1: float | None = None
    max_size: int | None = None

    def request(self, otherwise: Request) -> Request:
        """Return how to choose: what was given, and for the rest what a recipe or lock says."""
        given: dict[str, Any] = {
            "prefer": self.prefer,
            "prerelease": self.pre,
            "apart": self.apart,
            "licenses": self.licenses,
            "min_f1": self.min_f1,
            "max_size": self.max_size,
        }
        return dataclasses.replace(otherwise, **{key: value for key, value in given.items() if value is not None})

    def resolve(self, requirements: Sequence[str], workspace: Workspace, *, request: Request, old: Lock | None) -> Lock:
        """Return the lock that satisfies the requirements, with the versions of an old one where they fit.

        Raises:
            UsageError: something is to be upgraded that is not in the old lock.
        """
        from modhub import flow

        kept = None if EVERYTHING in self.upgrade else old
        names = [] if kept is None else [locked_name(name, kept) for name in self.upgrade]
        if self.upgrade and old is None and EVERYTHING not in self.upgrade:
            raise UsageError(f"there is no lock yet in which {self.upgrade[0]} could be upgraded: leave --upgrade out")
        return flow.resolve(requirements, workspace=workspace, request=request, old=kept, upgrading=names)


EVERYTHING = "*"
"""What ``--upgrade`` without a name stands for."""


def locked_name(name: str, lock: Lock) -> str:
    """Return the full name of a package of a lock, from that name, its last part, or the class that it was taken for.

    Raises:
        UsageError: no package of the lock is called so, or several are.
    """
    found = [
        module.name for module in lock.modules if name in (module.name, module.name.rpartition("/")[2], *module.why)
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(module.name for module in lock.modules)
    raise UsageError(f"{name!r} names {len(found) or 'no'} packages of the lock to upgrade; it holds {known}")


class Size(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 has no type arguments
    """A number of bytes, perhaps with a unit."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        from modhub.errors import InvalidRequirement
        from modhub.spec.requirements import parse_size

        try:
            return value if isinstance(value, int) else parse_size(str(value))
        except InvalidRequirement as error:
            self.fail(str(error), param, ctx)


class Allowed(click.ParamType):  # type: ignore[type-arg]  # as above
    """An SPDX licence, or a level of what licences ask for."""

    name = "licence"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        from modhub.errors import FormatError
        from modhub.spec.recipe import check_allowed

        try:
            check_allowed(str(value), where="")
        except FormatError as error:
            self.fail(str(error), param, ctx)
        return str(value)


def choosing_options(command: Command) -> Command:
    """Add the options that say how to choose, and pass them as `choosing`."""

    @functools.wraps(command)
    def collected(
        *args: Any,
        prefer: str | None,
        pre: bool,
        apart: bool,
        upgrade: tuple[str, ...],
        licenses: tuple[str, ...],
        min_f1: float | None,
        max_size: int | None,
        **rest: Any,
    ) -> Any:
        choosing = Choosing(
            prefer=prefer,
            pre=pre or None,
            apart=apart or None,
            upgrade=upgrade,
            licenses=tuple(sorted(set(licenses))) or None,
            min_f1=min_f1,
            max_size=max_size,
        )
        return command(*args, choosing=choosing, **rest)

    options = (
        click.option(
            "--upgrade",
            multiple=True,
            is_flag=False,
            flag_value=EVERYTHING,
            metavar="[NAME]",
            help="Keep no version of the lock, or all but NAME's. Repeatable.",
        ),
        click.option(
            "--prefer",
            type=click.Choice(["accuracy", "size", "newest", "f1"]),
            help="Which provider of a class wins; f1: of any parents.  [default: accuracy]",
        ),
        click.option("--min-f1", type=click.FloatRange(0, 1), help="The least F1, at the low end of its interval."),
        click.option("--max-size", type=Size(), help="The most bytes of a module, such as 500kB."),
        click.option(
            "--license", "licenses", multiple=True, type=Allowed(), help="Allowed: SPDX, or permissive. Repeatable."
        ),
        click.option("--pre", is_flag=True, help="Take pre-releases too."),
        click.option("--apart", is_flag=True, help="They need not fit into one model."),
    )
    found = cast("Command", collected)
    for option in reversed(options):
        found = option(found)
    return found


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
