"""`modhub cache`: the store of fetched files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import json_option, store_option
from modhub.cli.output import byte_size, print_json, print_table, say
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.hub.cache import Cached
    from modhub.hub.store import Store

DAY_S = 24 * 3600
INTEGRITY = 4


@click.group(epilog="\b\nExample: modhub cache ls")
def command() -> None:
    """Look after the store of fetched files, which all registries share.

    A file is kept under the digest of its bytes, once, and hashed whenever it is read: a damaged one is never used.
    """


@command.command(name="ls", epilog="\b\nExample: modhub cache ls --json")
@store_option
@json_option
def list_files(*, store: Path | None, as_json: bool) -> None:
    """List the files, and what they belong to."""
    from modhub.hub.cache import list_cache

    found = list_cache(opened(store))
    if as_json:
        print_json([plain(each) for each in found])
        return
    print_table([row(each) for each in found])
    say(f"{len(found)} files, {byte_size(sum(each.size for each in found))}, in {opened(store).root}")


@command.command(name="prune", epilog="\b\nExample: modhub cache prune --older-than 30")
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Files that came longer ago, too.")
@click.option("--all", "everything", is_flag=True, help="All files, too.")
@store_option
@json_option
def prune(*, older_than: float | None, everything: bool, store: Path | None, as_json: bool) -> None:
    """Delete unfinished downloads and what killed processes left.

    What is deleted is fetched again when it is needed. The indexes last seen are kept: with them a registry that goes
    back to an older state is noticed.
    """
    from modhub.hub.cache import prune_cache

    horizon = 0.0 if everything else None if older_than is None else older_than * DAY_S
    done = prune_cache(opened(store), older_than_s=horizon)
    if as_json:
        print_json({"files": done.files, "bytes": done.size})
    else:
        click.echo(f"deleted {done.files} files, {byte_size(done.size)} in all")


@command.command(name="verify", epilog="\b\nExample: modhub cache verify")
@store_option
@json_option
def verify(*, store: Path | None, as_json: bool) -> int:
    """Hash every file, and delete those that are damaged.

    Exit code 4 when there were any; they are fetched again when they are needed.
    """
    from modhub.hub.cache import verify_cache

    with waiting("hashing"):
        count, damaged = verify_cache(opened(store))
    if as_json:
        print_json({"files": count, "damaged": list(damaged)})
    else:
        click.echo(f"{count} files, {len(damaged) or 'none'} damaged")
        for digest in damaged:
            click.echo(f"  deleted {digest}")
    return INTEGRITY if damaged else 0


def opened(store: Path | None) -> Store:
    """Return the store that an option names, or the user's own."""
    from modhub.hub.store import Store

    return Store(store) if store else Store.of_user()


def plain(found: Cached) -> dict[str, Any]:
    """Return a file as plain values."""
    return {"sha256": found.digest, "bytes": found.size, "since": day(found.since), "names": list(found.names)}


def row(found: Cached) -> dict[str, Any]:
    """Return a file as a row of a table."""
    more = f" and {len(found.names) - 1} more" if len(found.names) > 1 else ""
    return {
        "sha256": found.digest[:12],
        "size": byte_size(found.size),
        "since": day(found.since)[:10],
        "belongs to": f"{found.names[0]}{more}" if found.names else "-",
    }


def day(seconds: float) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
