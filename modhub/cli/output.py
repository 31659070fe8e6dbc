"""Printing: tables and JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, TextIO

import click

from modhub.cli.failures import safe_text
from modhub.cli.terminal import console_of, show_fields, show_table, wrapped
from modhub.report.words import byte_size as byte_size  # noqa: PLC0414  The commands have it from here.

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GAP = "  "
LEAST_WIDTH = 40
"""No terminal is taken to be narrower, so that rich is not loaded for a few words."""


def print_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str) -> None:
    """Tell the person something beside the result, unless they asked for quiet."""
    context = click.get_current_context(silent=True)
    if context is None or not (context.find_root().obj or {}).get("quiet"):
        # By name: click looks below what a line of progress puts in the place of standard error.
        click.echo(fitted(safe_text(text), sys.stderr), file=sys.stderr)


def print_text(text: str) -> None:
    """Print a sentence or two; on a terminal, in lines that end between words."""
    click.echo(fitted(safe_text(text), sys.stdout))


def fitted(text: str, stream: TextIO) -> str:
    """Return a text with its lines ended between words where it goes to a terminal, but a command to type as it is."""
    console = None if len(text) < LEAST_WIDTH or text.startswith("next:") else console_of(stream)
    return text if console is None else wrapped(text, width=console.width)


def print_table(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> None:
    """Print rows as a table whose columns are the keys of the first row; numbers are aligned to the right.

    On a terminal it is made to fit. Elsewhere cells are never cut or folded: programs and people take names from here.
    """
    if not rows:
        return
    columns = {name: [shown(row.get(name)) for row in rows] for name in rows[0]}
    right = {name for name, cells in columns.items() if all(is_number(cell) for cell in cells)}
    console = console_of(sys.stdout)
    if console is not None:
        show_table(console, columns, right=right, title=safe_text(title))
        return
    widths = {name: max(map(width, [name, *cells])) for name, cells in columns.items()}
    if title:
        click.echo(safe_text(title))
    click.echo(GAP.join(padded(name, widths[name], right=name in right) for name in columns).rstrip())
    for row in zip(*columns.values(), strict=True):
        cells = (padded(cell, widths[name], right=name in right) for name, cell in zip(columns, row, strict=True))
        click.echo(GAP.join(cells).rstrip())


def print_fields(title: str, fields: Mapping[str, str]) -> None:
    """Print a title, and below it a name and a value a line."""
    console = console_of(sys.stdout)
    click.echo(safe_text(title))
    if console is not None:
        show_fields(console, {name: shown(value) for name, value in fields.items()}, indent=len(GAP))
        return
    for name, value in fields.items():
        click.echo(f"{GAP}{name:<10} {safe_text(value)}")


def print_error(text: str) -> None:
    """Print what went wrong on standard error; on a terminal, in lines that end between words."""
    click.echo(fitted(text, sys.stderr), err=True)


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
