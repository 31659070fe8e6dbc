"""Printing: tables and JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.failures import safe_text
from modhub.report.words import byte_size as byte_size  # noqa: PLC0414  The commands have it from here.

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GAP = "  "


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str) -> None:
    """Tell the person something beside the result, unless they asked for quiet."""
    context = click.get_current_context(silent=True)
    if context is None or not (context.find_root().obj or {}).get("quiet"):
        click.echo(safe_text(text), err=True)


def print_table(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> None:
    """Print rows as a table whose columns are the keys of the first row; numbers are aligned to the right.

    Cells are never cut or folded: people copy names from here.
    """
    if not rows:
        return
    columns = {name: [shown(row.get(name)) for row in rows] for name in rows[0]}
    widths = {name: max(map(width, [name, *cells])) for name, cells in columns.items()}
    right = {name for name, cells in columns.items() if all(is_number(cell) for cell in cells)}
    if title:
        click.secho(safe_text(title), italic=True)
    click.secho(GAP.join(padded(name, widths[name], right=name in right) for name in columns).rstrip(), bold=True)
    for row in zip(*columns.values(), strict=True):
        cells = (padded(cell, widths[name], right=name in right) for name, cell in zip(columns, row, strict=True))
        click.echo(GAP.join(cells).rstrip())


def shown(value: object) -> str:
    """Return a value as a cell of a table, on one line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return " ".join(safe_text(str(value)).split())


def is_number(cell: str) -> bool:
    """Tell whether a cell holds a number, perhaps with a unit."""
    number = cell.partition(" ")[0].replace(",", "").replace(".", "", 1).lstrip("+-")
    return cell == "-" or number.isdigit()


def padded(cell: str, size: int, *, right: bool) -> str:
    """Return a cell with spaces up to a width."""
    spaces = " " * (size - width(cell))
    return spaces + cell if right else cell + spaces


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes; East Asian signs take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal."""
    return "-" if value is None else f"{100 * value:.1f} %"
