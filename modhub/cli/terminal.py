"""What a terminal is shown: tables, fields and text that fit its width. Needs rich, which nothing else loads."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    Columns = Mapping[str, Sequence[str]]

GAP = 2
LEAST = 16
"""Columns of the terminal that a folded column of a table keeps."""
FIRM = "\u00a0"


def console_of(stream: TextIO) -> Console | None:
    """Return what draws on a stream that is a terminal, None where it is none: there, plain text is right.

    `NO_COLOR` and ``TERM=dumb`` leave nothing but text, so that neither colour nor bold letters are asked for.
    """
    if not stream.isatty():
        return None
    from rich.console import Console

    return Console(
        file=stream,
        color_system=None if is_plain() else "auto",
        force_terminal=True,
        markup=False,
        emoji=False,
        highlight=False,
    )


def is_plain() -> bool:
    """Tell whether a terminal is to be sent text alone: no colours, and nothing that moves the cursor."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def show_table(console: Console, columns: Columns, *, right: Collection[str], title: str = "") -> None:
    """Show a table no wider than the terminal.

    What is too wide loses the columns that are the same in all rows, which are told below; then texts are folded,
    never the first column, whose names people copy; and then it is shown in parts. A single row is shown upright.

    Args:
        console: where to.
        columns: cells by the name of their column, a text each.
        right: the columns of numbers, aligned to the right and never folded.
        title: what it is about.
    """
    from rich.text import Text

    if title:
        console.print(Text(title, style="italic"))
    kept, same = without_sameness(columns, room=console.width)
    if width_of(kept) > console.width and len(next(iter(kept.values()))) == 1:
        show_fields(console, {name: cells[0] for name, cells in columns.items()})
        return
    for number, part in enumerate(parts_of(kept, right=right, room=console.width)):
        if number:
            console.print()
        console.print(drawn(part, right))
    if same:
        console.print(Text(f"in all rows: {', '.join(f'{name} {cell}' for name, cell in same.items())}", style="dim"))


def show_fields(console: Console, fields: Mapping[str, str], *, indent: int = 0) -> None:
    """Show a name and a value a line; values that are too long go on below themselves."""
    from rich.padding import Padding
    from rich.table import Table

    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in fields.items():
        grid.add_row(name, value)
    console.print(Padding(grid, (0, 0, 0, indent)))


def without_sameness(columns: Columns, *, room: int) -> tuple[Columns, dict[str, str]]:
    """Return a table that is too wide without columns that say the same in each row, the widest first, and those."""
    kept, same = dict(columns), {}
    while width_of(kept) > room:
        found = [name for name, cells in list(kept.items())[1:] if len(cells) > 1 and len(set(cells)) == 1]
        if not found:
            break
        name = max(found, key=lambda each: natural(each, kept[each]))
        same[name] = kept.pop(name)[0]
    return kept, same


def parts_of(columns: Columns, *, right: Collection[str], room: int) -> list[Columns]:
    """Return a table as tables that fit, each with the first column; as one where folding its texts is enough."""
    if needed(columns, right) <= room:
        return [columns]
    (first, names), *rest = columns.items()
    parts: list[dict[str, Sequence[str]]] = [{first: names}]
    for name, cells in rest:
        wider = {**parts[-1], name: cells}
        if len(parts[-1]) > 1 and needed(wider, right) > room:
            parts.append({first: names, name: cells})
        else:
            parts[-1] = wider
    return list(parts)


def drawn(columns: Columns, right: Collection[str]) -> Table:
    """Return a table as rich draws it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        firm = number == 0 or name in right
        table.add_column(Text(name), justify="right" if name in right else "left", no_wrap=firm, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    return table


def natural(name: str, cells: Sequence[str]) -> int:
    """Return how many columns of the terminal a column takes when nothing is folded."""
    from rich.cells import cell_len

    return max(map(cell_len, [name, *cells]))


def width_of(columns: Columns) -> int:
    """Return how wide a table is when nothing is folded."""
    return sum(natural(name, cells) + GAP for name, cells in columns.items()) - GAP


def needed(columns: Columns, right: Collection[str]) -> int:
    """Return how wide a table is at least, when texts are folded."""
    total = -GAP
    for number, (name, cells) in enumerate(columns.items()):
        whole = natural(name, cells)
        folds = number > 0 and name not in right
        total += GAP + (min(whole, max(LEAST, natural(name, ()))) if folds else whole)
    return total


def wrapped(text: str, *, width: int) -> str:
    """Return a text with its lines ended between words; what stands in backquotes stays in one piece if it fits.

    >>> print(wrapped("nothing is there: run `modhub demo` first", width=24))
    nothing is there: run
    `modhub demo` first
    """
    pieces = text.split("`")
    pieces[1::2] = [piece.replace(" ", FIRM) if len(piece) < width - 1 else piece for piece in pieces[1::2]]
    lines = "`".join(pieces).split("\n")
    fold = textwrap.TextWrapper(width=width, break_long_words=False, break_on_hyphens=False)
    done = []
    for line in lines:
        margin = " " * (len(line) - len(line.lstrip(" ")))
        fold.initial_indent, fold.subsequent_indent = margin, margin
        done.append(fold.fill(line.lstrip(" ")) if len(line) > width else line)
    return "\n".join(done).replace(FIRM, " ")
