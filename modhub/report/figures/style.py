"""How all figures look: colours, sizes, and the panels they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

INK, MUTED, RULE, EMPTY, PAPER = "#1e2228", "#5b6470", "#d5d9e0", "#eceef2", "#ffffff"
BLUE, VERMILION, SKY = "#0072b2", "#d55e00", "#56b4e9"
"""Of Okabe and Ito's palette, which people with any colour vision tell apart."""
DARK_TEXT, LIGHT_TEXT = "#1d2127", "#fffffe"
"""Text on a coloured cell; a page may recolour `INK` and `PAPER`, but not these."""
SHADES = LinearSegmentedColormap.from_list("modhub", ["#f3f7fb", "#b5d3e9", "#5a9fd0", "#1769a8", "#08335e"])
"""From little to much: lightness alone tells the order, so it also survives a grey print."""
LIGHT_FROM = 0.62
"""Share of the scale from which on light text is easier to read on a cell than dark: 4 to 1 at least for either."""
NOTHING = ListedColormap([EMPTY])

TITLE, TEXT, SMALL, TINY = 10.5, 8.5, 7.5, 6.5
"""Points."""
BAR_WIDTH, BAR_HEIGHT = 0.11, 2.6
"""Inches of the key of colours, at most."""
CELLS_WITH_LINES = 1600
"""Up to so many cells of a matrix are drawn one by one with a line between; more become an image."""
CELLS_WITH_NUMBERS = 12
"""Up to so many rows the cells bear their numbers."""
MANY = 40
"""From more rows on, names and cells are small."""

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    # Names of classes may hold dollar signs.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "hatch.color": MUTED,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture: a title, its size in inches, and what draws it into a part of a figure."""

    title: str
    width: float
    height: float
    draw: Callable[[SubFigure], None]


def text_width(names: Sequence[str], *, size: float = SMALL) -> float:
    """Return about how many inches the longest of some names takes."""
    return max((len(name) for name in names), default=0) * size * 0.62 / 72


def matrix(
    axes: Axes, values: npt.NDArray[np.float64], *, low: float, high: float, texts: Sequence[Sequence[str]] = ()
) -> Any:
    """Draw a matrix as coloured cells, row 0 on top, with a text in each cell if given; returns the coloured artist.

    Cells that are not a number get no colour.
    """
    rows, columns = values.shape
    shown = np.ma.masked_invalid(values)
    colours = SHADES.with_extremes(bad=EMPTY)
    if rows * columns <= CELLS_WITH_LINES:
        if shown.mask is not np.ma.nomask:
            axes.pcolormesh(np.zeros_like(values), cmap=NOTHING, edgecolors=PAPER, linewidth=0.8)
        artist: Any = axes.pcolormesh(
            shown, cmap=colours, vmin=low, vmax=high, edgecolors=PAPER, linewidth=0.8 if rows <= 40 else 0.3
        )
        axes.set(xlim=(0, columns), ylim=(rows, 0))
    else:
        extent = (0, columns, rows, 0)
        artist = axes.imshow(
            shown, cmap=colours, vmin=low, vmax=high, interpolation="none", aspect="auto", extent=extent
        )
    for i, line in enumerate(texts):
        for j, text in enumerate(line):
            if text:
                strong = values[i, j] > low + LIGHT_FROM * (high - low)
                axes.text(
                    j + 0.5,
                    i + 0.52,
                    text,
                    ha="center",
                    va="center",
                    fontsize=TINY,
                    color=LIGHT_TEXT if strong else DARK_TEXT,
                )
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    return artist


def square_panel(
    title: str, names: Sequence[str], draw: Callable[[SubFigure, float], None], *, cell: float, room: float
) -> Panel:
    """Return a panel for a square matrix with a row and a column per name.

    Args:
        title: of the panel.
        names: of rows and columns.
        draw: draws the matrix into a part of a figure, given its side in inches.
        cell: side in inches of a cell that bears a number.
        room: inches beside and below the names.
    """
    count = len(names)
    side = max(2.2, count * (cell if count <= CELLS_WITH_NUMBERS else 0.2 if count <= MANY else 0.125))
    margin = text_width(names) + room
    width, height = margin + side + 0.95, 0.5 + side + margin
    return Panel(title=title, width=width, height=height, draw=lambda figure: draw(figure, side))


def name_square(axes: Axes, names: Sequence[str]) -> None:
    """Write the names of a square matrix beside and below it, and keep it square."""
    size = SMALL if len(names) <= MANY else TINY
    name_rows(axes, names, size=size)
    name_columns(axes, names, size=size)
    axes.set_aspect("equal")


def name_rows(axes: Axes, names: Sequence[str], *, size: float) -> None:
    """Write a name beside each row of a matrix."""
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=size)


def name_columns(axes: Axes, names: Sequence[str], *, size: float) -> None:
    """Write a name under each column of a matrix, upright."""
    axes.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=size, rotation=90)


def colour_bar(figure: SubFigure, artist: Any, axes: Axes, *, text: str, size: tuple[float, float]) -> None:
    """Draw the key of a matrix's colours beside it, at its top where it is tall; `size` is the matrix's in inches."""
    width, height = size
    bar = figure.colorbar(
        artist,
        ax=axes,
        fraction=BAR_WIDTH / (width + BAR_WIDTH),
        pad=0.1 / width,
        shrink=min(1.0, BAR_HEIGHT / height),
        aspect=min(height, BAR_HEIGHT) / BAR_WIDTH,
        anchor=(0.0, 1.0),
    )
    bar.locator = MaxNLocator(5, integer=True)
    bar.update_ticks()
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.set_label(text, fontsize=SMALL)
