"""What modules keep, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch

from modhub.report.figures.style import (
    BLUE,
    CELLS_WITH_NUMBERS,
    EMPTY,
    INK,
    MUTED,
    PAPER,
    SMALL,
    TEXT,
    TINY,
    Panel,
    colour_bar,
    matrix,
    name_columns,
    name_rows,
    text_width,
)
from modhub.report.kept import MASKED, PINNED, TRUNK
from modhub.report.labels import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from modhub.report.kept import Kept

BARS, COLUMN, MANY = 1.35, 0.27, 40
"""Inches of the bars above and of a column; from how many rows on they come closer together."""


def kept_panel(kept: Kept) -> Panel:
    """Return a bar per site above a row of cells per module."""
    kept = kept.made
    rows, columns = len(kept.modules), len(kept.sites)
    row = 0.2 if rows <= MANY else 0.125
    names = labels(kept.modules)
    width = max(6.2, text_width(names) + COLUMN * columns + 1.7)
    below = text_width([site.name for site in kept.sites]) + 0.25
    cells = rows * row + below if rows > 1 else below
    return Panel(
        title="What each module keeps, layer by layer",
        width=width,
        height=0.75 + BARS + cells,
        draw=lambda figure: _draw(figure, kept, names, heights=[BARS, max(rows * row, 0.01)]),
    )


def _draw(figure: SubFigure, kept: Kept, names: Sequence[str], *, heights: Sequence[float]) -> None:
    if len(kept.modules) == 1:
        bars = figure.subplots()
        bars.set_xlim(0, len(kept.sites))
        name_columns(bars, [site.name for site in kept.sites], size=_size(len(kept.sites)))
    else:
        bars, cells = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": list(heights)})
        _draw_cells(figure, cells, kept, names, height=heights[1])
        bars.tick_params(labelbottom=False, length=0, axis="x")
    _draw_bars(bars, kept)


def _draw_bars(axes: Axes, kept: Kept) -> None:
    """Draw each site's width, and how much of it modules keep: the mean, and from the least to the most."""
    weights = kept.measure == "weights"
    whole = np.array([site.weights if weights else site.channels for site in kept.sites], dtype=np.float64)
    counts = kept.weights if weights else kept.channels
    places = np.arange(len(kept.sites)) + 0.5
    masked = kept.open
    for state, hatch in ((TRUNK, ""), (PINNED, "/////"), (MASKED, "")):
        chosen = [i for i, found in enumerate(_states(kept)) if found == state]
        face = PAPER if state == MASKED else EMPTY
        axes.bar(places[chosen], whole[chosen], width=0.72, facecolor=face, edgecolor=MUTED, linewidth=0.5, hatch=hatch)
    if masked:
        means = counts[:, masked].mean(axis=0)
        axes.bar(places[masked], means, width=0.72, color=BLUE)
        if len(kept.modules) > 1:
            spread = [means - counts[:, masked].min(axis=0), counts[:, masked].max(axis=0) - means]
            axes.errorbar(places[masked], means, yerr=spread, fmt="none", ecolor=INK, elinewidth=0.8, capsize=1.8)
    axes.set_ylabel("weights" if weights else "channels", fontsize=SMALL)
    axes.legend(handles=_key(kept), loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderaxespad=0.2,
                handlelength=1.2, columnspacing=1.2)  # fmt: skip


def _key(kept: Kept) -> list[Patch]:
    states = set(_states(kept))
    several = len(kept.modules) > 1
    found = []
    if MASKED in states:
        found.append(Patch(facecolor=BLUE, label="kept, mean and range over modules" if several else "kept"))
        found.append(Patch(facecolor=PAPER, edgecolor=MUTED, linewidth=0.5, label="the parent's"))
    if TRUNK in states:
        found.append(Patch(facecolor=EMPTY, edgecolor=MUTED, linewidth=0.5, label="trunk, shared whole"))
    if PINNED in states:
        found.append(Patch(facecolor=EMPTY, edgecolor=MUTED, linewidth=0.5, hatch="/////", label="never cut"))
    return found


def _draw_cells(figure: SubFigure, axes: Axes, kept: Kept, names: Sequence[str], *, height: float) -> None:
    shares = np.full_like(kept.shares, np.nan)
    shares[:, kept.open] = 100 * kept.shares[:, kept.open]
    texts: list[list[str]] = []
    if len(names) <= CELLS_WITH_NUMBERS:
        texts = [["" if np.isnan(value) else f"{value:.0f}" for value in line] for line in shares]
    artist = matrix(axes, shares, low=0.0, high=100.0, texts=texts)
    name_rows(axes, names, size=_size(len(names)))
    name_columns(axes, [site.name for site in kept.sites], size=_size(len(kept.sites)))
    _name_trunk(axes, kept, rows=len(names))
    colour_bar(
        figure,
        artist,
        axes,
        text=f"{'weights' if kept.measure == 'weights' else 'channels'} kept, %",
        size=(COLUMN * len(kept.sites), height),
    )


def _name_trunk(axes: Axes, kept: Kept, *, rows: int) -> None:
    trunk = [i for i, state in enumerate(_states(kept)) if state == TRUNK]
    if len(trunk) > 3:
        middle = (trunk[0] + trunk[-1] + 1) / 2
        axes.text(
            middle, rows / 2, "trunk, the same in all modules", ha="center", va="center", color=MUTED, fontsize=TEXT
        )


def _states(kept: Kept) -> list[str]:
    """Return each site's state; one that single weights left counts as masked wherever it stands."""
    shown = set(kept.open)
    return [MASKED if i in shown else site.state for i, site in enumerate(kept.sites)]


def _size(count: int) -> float:
    return SMALL if count <= MANY else TINY
