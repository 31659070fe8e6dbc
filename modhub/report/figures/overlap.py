"""How much modules keep in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from modhub.report.figures.style import (
    CELLS_WITH_NUMBERS,
    SMALL,
    TINY,
    Panel,
    colour_bar,
    matrix,
    name_columns,
    name_rows,
    text_width,
)
from modhub.report.labels import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import SubFigure

    from modhub.report.overlap import Overlap


def overlap_panel(overlap: Overlap) -> Panel:
    """Return a square of cells, a row and a column per module."""
    count, names = len(overlap.modules), labels(overlap.modules)
    side = max(2.2, count * (0.32 if count <= CELLS_WITH_NUMBERS else 0.2 if count <= 40 else 0.125))
    margin = text_width(names) + 0.15
    return Panel(
        title="What modules have in common",
        width=margin + side + 0.95,
        height=0.5 + side + margin,
        draw=lambda figure: _draw(figure, overlap, names, side=side),
    )


def _draw(figure: SubFigure, overlap: Overlap, names: Sequence[str], *, side: float) -> None:
    axes = figure.subplots()
    values = 100 * overlap.jaccard
    np.fill_diagonal(values, np.nan)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    low, high = 5.0 * math.floor(low / 5), 5.0 * math.ceil(high / 5)
    if high <= low:
        low, high = max(0.0, low - 5), min(100.0, low + 5)
    small = len(names) <= CELLS_WITH_NUMBERS
    texts = [["" if np.isnan(v) else f"{v:.0f}" for v in row] for row in values] if small else []
    artist = matrix(axes, values, low=low, high=high, texts=texts)
    size = SMALL if len(names) <= 40 else TINY
    name_rows(axes, names, size=size)
    name_columns(axes, names, size=size)
    axes.set_aspect("equal")
    colour_bar(figure, artist, axes, text="weights in common, % of those in either", size=(side, side))
