"""`modhub registry token`: who may do what on a self-hosted registry."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from modhub_registry.auth.tokens import Token

root_option = click.option(
    "--root", type=PATH, default=Path("modhub-registry"), show_default=True, help="The folder that is served."
)
database_option = click.option(
    "--database", default="", metavar="URL", help="postgresql://... where the server has it."
)


@click.group(name="token", short_help="who may do what on a self-hosted registry")
def token() -> None:
    """Make, list and revoke tokens, where the server's folder or database is; a running server notices at once."""


@token.command(
    name="create",
    epilog="\b\nExample: modhub registry token create --root ./registry --user alice --scope write",
)
@root_option
@database_option
@click.option("--user", required=True, metavar="NAME", help="Whose token it is.")
@click.option(
    "--scope", type=click.Choice(["read", "write", "admin"]), default="read", show_default=True, help="What it allows."
)
@click.option("--owner", "owners", multiple=True, metavar="NAME", help="Whose repositories beside the user's own.")
@click.option("--days", type=click.IntRange(1), help="How long it works; default: until it is revoked.")
@click.option("--label", default="", help="What it is for, for the list.")
@json_option
def create(*, root: Path, database: str, as_json: bool, **choices: Any) -> None:
    """Make a token and print it, this once: the registry keeps no more than a digest of it.

    A read token sees the private repositories of its owners, a write token changes them, an admin's everything.
    """
    with opened(root, database, make=True) as connection:
        from modhub_registry.auth import tokens

        text, made = tokens.create(connection, **choices)
    if as_json:
        print_json({"token": text, **shown(made)})
        return
    click.echo(text)
    say(f"a {made.scope} token of {made.user}, id {made.id}; it is shown only now")


@token.command(name="ls", epilog="\b\nExample: modhub registry token ls --root ./registry")
@root_option
@database_option
@json_option
def list_tokens(*, root: Path, database: str, as_json: bool) -> None:
    """List the tokens, without their texts, which nobody knows."""
    with opened(root, database) as connection:
        from modhub_registry.auth import tokens

        rows = [shown(each) for each in tokens.all_tokens(connection)]
    if as_json:
        print_json(rows)
        return
    print_table([{**row, "owners": ", ".join(row["owners"])} for row in rows])


@token.command(name="revoke", epilog="\b\nExample: modhub registry token revoke 1f9a3c07 --root ./registry")
@click.argument("id")
@root_option
@database_option
@json_option
def revoke(id: str, *, root: Path, database: str, as_json: bool) -> None:
    """Make the token with this ID useless from now on."""
    with opened(root, database) as connection:
        from modhub_registry.auth import tokens

        tokens.revoke(connection, id)
    if as_json:
        print_json({"revoked": id})
    else:
        say(f"revoked {id}")


@contextmanager
def opened(root: Path, database: str, *, make: bool = False) -> Iterator[Connection]:
    """Run the block in a transaction on the database of a registry.

    Raises:
        MissingExtra: what the server needs is not installed.
        NotFound: there is no registry in the folder, and none is to be made.
    """
    from modhub.errors import MissingExtra, NotFound

    try:
        from modhub_registry.settings import Settings
        from modhub_registry.storage.registry import open_database
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), extra="server", purpose="a self-hosted registry") from error
    if not make and not database and not (root / "registry.sqlite").is_file():
        raise NotFound(f"there is no registry in {root}: name the folder that is served by --root")
    found = open_database(Settings(root=root, database=database))
    try:
        with found.writing() as connection:
            yield connection
    finally:
        found.close()


def shown(found: Token) -> dict[str, Any]:
    """Return a token as people read it."""
    return {
        "id": found.id,
        "user": found.user,
        "scope": found.scope,
        "owners": list(found.owners),
        "label": found.label,
        "created": day(found.created_at),
        "expires": day(found.expires_at),
        "state": "good" if found.is_good() else "revoked" if found.revoked_at else "expired",
    }


def day(milliseconds: int | None) -> str | None:
    """Return the time of a number, in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
