"""`modhub yank`, `modhub unyank` and `modhub deprecate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from modhub.cli.options import address_of, json_option, store_option
from modhub.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = TypeVar("Command", bound=Callable[..., Any])

registry_option = click.option(
    "--registry",
    "-r",
    required=True,
    envvar="MODHUB_TO",
    help="The registry: a folder, an address or a configured name.",
)


@click.command(epilog="\b\nExample: modhub yank acme/pets/cat==1.0.0 -r ./registry --reason wrong")
@click.argument("reference")
@click.option("--reason", required=True, help="Why, for the people who use it.")
@registry_option
@store_option
@json_option
def command(reference: str, *, reason: str, registry: str, store: Path | None, as_json: bool) -> None:
    """Mark a release as one that nobody should choose any more.

    REFERENCE is owner/collection/name==VERSION. Nothing is deleted: locks that name the release still install it, and
    `modhub audit` tells their owners. `modhub unyank` takes it back.
    """
    from modhub import flow

    tell(flow.yank(reference, registry=address_of(registry), reason=reason, store=store), "yanked", reason, as_json)


@click.command(epilog="\b\nExample: modhub unyank acme/pets/cat==1.0.0 -r ./registry")
@click.argument("reference")
@registry_option
@store_option
@json_option
def unyank(reference: str, *, registry: str, store: Path | None, as_json: bool) -> None:
    """Take the yank of a release back: it may be chosen again.

    REFERENCE is owner/collection/name==VERSION.
    """
    from modhub import flow

    tell(flow.yank(reference, registry=address_of(registry), reason=None, store=store), "not yanked", None, as_json)


@click.command(epilog="\b\nExample: modhub deprecate acme/pets/cat==1.0.0 -r ./modules --reason old")
@click.argument("reference")
@click.option("--reason", help="What to use instead.")
@click.option("--undo", is_flag=True, help="Take a deprecation back.")
@registry_option
@store_option
@json_option
def deprecate(
    reference: str, *, reason: str | None, undo: bool, registry: str, store: Path | None, as_json: bool
) -> None:
    """Say what to use instead of a release, which may still be chosen.

    REFERENCE is owner/collection/name==VERSION.
    """
    from modhub import flow

    if undo == (reason is not None):
        raise click.UsageError("Give either --reason or --undo.")
    name = flow.deprecate(reference, registry=address_of(registry), reason=reason, store=store)
    tell(name, "not deprecated" if undo else "deprecated", reason, as_json)


def tell(release: str, state: str, reason: str | None, as_json: bool) -> None:  # noqa: FBT001  As the option is.
    """Print what a release is now."""
    if as_json:
        print_json({"release": release, "state": state, "reason": reason})
    else:
        click.echo(f"{release} is {state}{f': {reason}' if reason else ''}")
