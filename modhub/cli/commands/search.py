"""`modhub search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import json_option, workspace_options
from modhub.cli.output import byte_size, percent, print_json, print_table, say
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from modhub.cli.options import Places
    from modhub.hub.search import Hit


@click.command(epilog="\b\nExample: modhub search cat --min-f1 0.8 --license BSD-2-Clause")
@click.argument("text", default="")
@click.option("--class", "class_name", help="Only packages that score this class.")
@click.option("--kind", type=click.Choice(["base", "module", "composite"]), help="Only packages of this kind.")
@click.option("--method", help="Only packages made by this method.")
@click.option("--license", help="Only packages under this licence (SPDX).")
@click.option("--max-size", help="Largest package, such as 200kB.")
@click.option("--min-f1", type=click.FloatRange(0, 1), help="Least F1, by the low end of its interval.")
@workspace_options
@json_option
def command(
    text: str,
    *,
    places: Places,
    as_json: bool,
    **facets: Any,
) -> int:
    """Find packages whose name, class, summary or collection contains TEXT.

    Exit code 1 when nothing was found.
    """
    from modhub import flow
    from modhub.hub.search import Query
    from modhub.spec.requirements import parse_size

    query = Query(
        text=text,
        class_name=facets["class_name"],
        kind=facets["kind"],
        method=facets["method"],
        license=facets["license"],
        max_size=parse_size(facets["max_size"]) if facets["max_size"] else None,
        min_f1=facets["min_f1"],
    )
    with waiting("searching"):
        result = flow.search(query, workspace=places.open())
    for name, error in result.skipped.items():
        say(f"skipped {name}: {error}")
    if as_json:
        print_json([plain(hit) for hit in result.hits])
    else:
        print_table([row(hit) for hit in result.hits])
        if not result.hits:
            say("nothing found")
    return 0 if result.hits else 1


def plain(hit: Hit) -> dict[str, Any]:
    """Return a hit as plain values."""
    return {**hit.release.to_dict(), "registry": hit.registry, "name": hit.name}


def row(hit: Hit) -> dict[str, Any]:
    """Return a hit as a row of a table."""
    f1 = hit.release.metrics.get("f1")
    return {
        "package": hit.name,
        "version": hit.release.version,
        "kind": hit.release.kind,
        "classes": ", ".join(hit.release.classes[:4]) + (" ..." if len(hit.release.classes) > 4 else ""),
        "F1": percent(f1.value if f1 else None),
        "license": hit.release.license,
        "size": byte_size(hit.release.size),
    }
