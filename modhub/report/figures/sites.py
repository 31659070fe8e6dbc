"""A network's sites: how wide they are, and which are pinned and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch

from modhub.report.figures.style import BLUE, EMPTY, INK, MUTED, SMALL, TINY, Panel, text_width
from modhub.report.kept import PINNED
from modhub.report.labels import label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import SubFigure

    from modhub.report.kept import Kept, SiteRow

ROW, BAR, REASON = 0.19, 2.6, 54
"""Inches of a row and of the longest bar; characters of a reason."""


def sites_panel(kept: Kept) -> Panel:
    """Return a bar per site, with the reason beside those that are never cut."""
    rows = kept.sites
    notes = [_note(row) for row in rows]
    names = [f"{row.name}  ·  {label(row.id, most=30)}" for row in rows]
    width = text_width(names) + BAR + text_width(notes) + 0.3
    return Panel(
        title="Sites: channels that are kept or cut together",
        width=max(6.2, width),
        height=0.95 + ROW * max(3, len(rows)),
        draw=lambda figure: _draw(figure, rows, names, notes),
    )


def _note(row: SiteRow) -> str:
    noun = row.kind if row.weights else "channels"
    text = f"{row.channels:,} {noun if row.channels > 1 else noun[:-1]}{'' if row.weights else ', no weights'}"
    return f"{text}: {label(row.pinned, most=REASON)}" if row.pinned else text


def _draw(figure: SubFigure, rows: Sequence[SiteRow], names: Sequence[str], notes: Sequence[str]) -> None:
    axes = figure.subplots()
    sizes = np.array([row.channels for row in rows], dtype=np.float64)
    places = np.arange(len(rows))
    for pinned in (False, True):
        chosen = [i for i, row in enumerate(rows) if (row.state == PINNED) == pinned]
        look = (
            {"facecolor": EMPTY, "hatch": "/////", "edgecolor": MUTED, "linewidth": 0.5} if pinned else {"color": BLUE}
        )
        axes.barh(places[chosen], sizes[chosen], height=0.68, **look)
    for place, size, note, row in zip(places, sizes, notes, rows, strict=True):
        axes.annotate(
            note,
            (float(size), float(place)),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL if len(rows) <= 80 else TINY,
            color=MUTED if not row.pinned else INK,
        )
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel("channels", fontsize=SMALL, loc="left")
    room = text_width(notes) / BAR
    axes.set_xlim(0, float(sizes.max()) * (1 + room))
    ticks = [tick for tick in axes.get_xticks() if tick <= sizes.max() * 1.02]
    axes.set_xticks(ticks)
    axes.spines["bottom"].set_bounds(0, float(ticks[-1]))
    handles = [Patch(facecolor=BLUE, label="can be cut")]
    if any(row.pinned for row in rows):
        handles.append(
            Patch(facecolor=EMPTY, edgecolor=MUTED, linewidth=0.5, hatch="/////", label="pinned: never cut, and why")
        )
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, handlelength=1.2
    )
