"""How much modules keep in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from modhub.report.figures.style import CELLS_WITH_NUMBERS, Panel, colour_bar, matrix, name_square, square_panel
from modhub.report.labels import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import SubFigure

    from modhub.report.overlap import Overlap


def overlap_panel(overlap: Overlap) -> Panel:
    """Return a square of cells, a row and a column per module."""
    names = labels(overlap.modules)
    return square_panel(
        "What modules have in common",
        names,
        lambda figure, side: _draw(figure, overlap, names, side=side),
        cell=0.32,
        room=0.15,
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
    name_square(axes, names)
    colour_bar(figure, artist, axes, text="weights in common, % of those in either", size=(side, side))
