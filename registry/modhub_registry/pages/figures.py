"""Pictures as SVG inside a page: every colour comes from the page's own style sheet, every text is escaped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from modhub.report.labels import label, labels
from modhub.report.words import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW, BAR = 22, 12
"""Pixels of a layer's row and of its bar."""

MOST_ROWS = 60
"""Layers up to which those of the trunk are drawn too; no more than twice as many are drawn at all."""

CELLS_WITH_NUMBERS = 14
"""Modules up to which the cells of a heat map bear numbers."""

LEVELS = 10
"""Steps of a heat map's colour."""

LEFT, WIDE = 25.0, 53.0
"""Per cent of the width where bars begin, and that they take."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture, what it says in a sentence, and its numbers as a table: head and rows."""

    svg: Markup
    text: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int = 0


def kept_picture(measured: dict[str, Any], *, name: str) -> Picture:
    """Return what one module keeps of its parent, a row for each layer.

    Args:
        measured: the numbers of the report, of one module.
        name: what the module is called.
    """
    kept = measured["kept"]
    weights = kept["measure"] == "weights"
    whole, of_it = ("weights", "weights") if weights else ("channels", "channels")
    rows = list(zip(kept["sites"], kept["modules"][0][of_it], strict=True))
    drawn = rows if len(rows) <= MOST_ROWS else [row for row in rows if row[0]["state"] == "masked"]
    drawn = drawn[: 2 * MOST_ROWS]
    unit = "weights" if weights else "channels"
    share = percent(kept["modules"][0]["kernels_kept"])
    text = f"Of the kernels and neurons behind the trunk, {name} keeps {share}."
    if weights:
        text = f"Of each layer's weights, what {name} keeps."
    parts = [_bar(site, count, site[whole], number) for number, (site, count) in enumerate(drawn)]
    svg = Markup('<svg class="bars" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        ROW * len(drawn) + 4, f"What {name} keeps of its parent, layer by layer. {text}", Markup("").join(parts)
    )
    return Picture(
        svg=svg,
        text=text,
        head=("layer", "made by", f"{unit} kept", f"{unit} in all", "state"),
        rows=[
            (
                site["name"],
                ", ".join(label(layer, most=40) for layer in site["layers"][:3]),
                f"{count:,}",
                f"{site[whole]:,}",
                _state(site),
            )
            for site, count in drawn
        ],
        left_out=len(rows) - len(drawn),
    )


def sides_picture(measured: dict[str, Any], *, names: Sequence[str]) -> Picture:
    """Return what two modules keep of one parent, two bars for each layer behind the trunk.

    Args:
        measured: the numbers of the report, of the two.
        names: what they are called.
    """
    kept = measured["kept"]
    unit = "weights" if kept["measure"] == "weights" else "channels"
    counts = [module[unit] for module in kept["modules"]]
    rows = [row for row in zip(kept["sites"], *counts, strict=True) if row[0]["state"] == "masked"]
    drawn = rows[:MOST_ROWS]
    parts = [_two_bars(site, (one, other), whole=site[unit], number=i) for i, (site, one, other) in enumerate(drawn)]
    shared = percent(measured["overlap"]["jaccard"][0][1])
    text = f"Of the weights that either keeps, {shared} are kept by both, among those that masks act on."
    label_text = f"What {names[0]} and {names[1]} keep of their parent, layer by layer. {text}"
    svg = Markup('<svg class="bars" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        ROW * len(drawn) + 4, label_text, Markup("").join(parts)
    )
    table = [(site["name"], f"{one:,}", f"{other:,}", f"{site[unit]:,}") for site, one, other in drawn]
    head = ("layer", f"{unit} of {names[0]}", f"{unit} of {names[1]}", f"{unit} in all")
    return Picture(svg=svg, text=text, head=head, rows=table, left_out=len(rows) - len(drawn))


def overlap_picture(measured: dict[str, Any], *, names: Sequence[str]) -> Picture | None:
    """Return how much of the weights that modules keep they keep in common, as the lower half of a heat map.

    Args:
        measured: the numbers of the report.
        names: what the modules are called, in their order.
    """
    overlap = measured["overlap"]
    if overlap is None:
        return None
    values: list[list[float]] = overlap["jaccard"]
    pairs = [(values[i][j], i, j) for i in range(len(values)) for j in range(i)]
    low, high = min(pairs), max(pairs)
    text = (
        f"Least in common: {names[low[1]]} and {names[low[2]]}, {percent(low[0])}. "
        f"Most: {names[high[1]]} and {names[high[2]]}, {percent(high[0])}."
    )
    floor, top = math.floor(20 * low[0]) / 20, max(math.ceil(20 * high[0]) / 20, math.floor(20 * low[0]) / 20 + 0.05)
    with_numbers = len(values) <= CELLS_WITH_NUMBERS
    cell = 36 if with_numbers else 14
    svg = _triangle(
        pairs, labels(names, most=14), cell=cell, floor=floor, top=top, with_numbers=with_numbers, text=text
    )
    table = [
        (names[i], *(percent(values[i][j]) if j != i else "" for j in range(len(names)))) for i in range(len(names))
    ]
    few = with_numbers
    return Picture(svg=svg, text=text, head=("", *names) if few else (), rows=table if few else ())


def _bar(site: dict[str, Any], count: int, whole: int, number: int) -> Markup:
    y = number * ROW
    share = count / whole if whole else 1.0
    kind = {"trunk": "trunk", "pinned": "trunk"}.get(site["state"], "kept")
    return Markup(
        '<g><title>{title}</title><text x="0" y="{base}">{name}</text>'
        '<rect class="whole" x="{left}%" y="{top}" width="{wide}%" height="{high}" rx="2"/>'
        '<rect class="{kind}" x="{left}%" y="{top}" width="{own:.2f}%" height="{high}" rx="2"/>'
        '<text class="n" x="100%" y="{base}" text-anchor="end">{count}</text></g>'
    ).format(
        title=f"{site['name']}: {count:,} of {whole:,} ({_state(site)})",
        name=label(site["name"], most=14),
        base=y + 15,
        top=y + 5,
        left=LEFT,
        wide=WIDE,
        high=BAR,
        kind=kind,
        own=WIDE * share,
        count=f"{count:,} of {whole:,}",
    )


def _two_bars(site: dict[str, Any], counts: tuple[int, int], *, whole: int, number: int) -> Markup:
    y = number * ROW
    bars = [
        Markup('<rect class="{}" x="{}%" y="{}" width="{:.2f}%" height="6" rx="1"/>').format(
            kind, LEFT, y + 4 + 7 * place, WIDE * (count / whole if whole else 1.0)
        )
        for place, (kind, count) in enumerate(zip(("kept", "other"), counts, strict=True))
    ]
    return Markup(
        '<g><title>{title}</title><text x="0" y="{base}">{name}</text>'
        '<rect class="whole" x="{left}%" y="{top}" width="{wide}%" height="13" rx="2"/>{bars}'
        '<text class="n" x="100%" y="{base}" text-anchor="end">{count}</text></g>'
    ).format(
        title=f"{site['name']}: {counts[0]:,} and {counts[1]:,} of {whole:,}",
        name=label(site["name"], most=14),
        base=y + 15,
        left=LEFT,
        wide=WIDE,
        top=y + 4,
        bars=Markup("").join(bars),
        count=f"{counts[0]:,} | {counts[1]:,}",
    )


def _state(site: dict[str, Any]) -> str:
    return {"trunk": "in the trunk", "pinned": "never cut"}.get(str(site["state"]), "behind the trunk")


def _triangle(
    pairs: Sequence[tuple[float, int, int]],
    names: Sequence[str],
    *,
    cell: int,
    floor: float,
    top: float,
    with_numbers: bool,
    text: str,
) -> Markup:
    """Return the cells below the diagonal; those of one colour are one path, so that many cells stay small."""
    margin = 8 + 7 * max(len(name) for name in names)
    paths: dict[int, list[str]] = {}
    numbers = []
    for value, i, j in pairs:
        level = max(0, min(LEVELS - 1, int((value - floor) / (top - floor) * LEVELS)))
        x, y = margin + j * cell, (i - 1) * cell
        paths.setdefault(level, []).append(f"M{x} {y}h{cell - 2}v{cell - 2}h-{cell - 2}z")
        if with_numbers:
            numbers.append(
                f'<text class="on{int(level >= LEVELS // 2)}" x="{x + cell // 2 - 1}" y="{y + cell // 2 + 4}">'
                f"{100 * value:.0f}</text>"
            )
    cells = "".join(f'<path class="l{level}" d="{"".join(parts)}"/>' for level, parts in sorted(paths.items()))
    size, count = 12 if with_numbers else 10, len(names)
    rows = "".join(
        f'<text x="{margin - 6}" y="{(i - 1) * cell + cell // 2 + 4}" text-anchor="end">{escape(names[i])}</text>'
        for i in range(1, count)
    )
    bottom = (count - 1) * cell
    columns = "".join(
        f'<text transform="translate({margin + j * cell + cell // 2 + 3} {bottom + 6}) rotate(-60)" text-anchor="end">'
        f"{escape(names[j])}</text>"
        for j in range(count - 1)
    )
    wide, high = margin + bottom + 4, bottom + margin + 4
    # Made here of numbers and escaped names.
    inside = Markup(f'<g class="cells">{cells}</g><g class="values">{"".join(numbers)}</g>{rows}{columns}')  # noqa: S704
    return Markup(
        '<svg class="heat" viewBox="0 0 {} {}" width="{}" height="{}" font-size="{}" role="img" aria-label="{}">'
        "{}</svg>"
    ).format(wide, high, wide, high, size, f"Weights in common between modules. {text}", inside)
