"""Confusions between classes, and whether stated probabilities are true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from modhub.metrics import ECE_BINS
from modhub.report.figures.style import (
    BLUE,
    CELLS_WITH_NUMBERS,
    MUTED,
    RULE,
    SKY,
    SMALL,
    Panel,
    colour_bar,
    matrix,
    name_square,
    square_panel,
)
from modhub.report.labels import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import SubFigure

    from modhub.report.scores import Confusion, Reliability


def confusion_panel(confusion: Confusion) -> Panel:
    """Return a row of cells per class: which columns its samples got their highest score from."""
    names = labels(confusion.classes)
    return square_panel(
        "What is taken for what",
        names,
        lambda figure, side: _draw_confusion(figure, confusion, names, side=side),
        cell=0.34,
        room=0.4,
    )


def _draw_confusion(figure: SubFigure, confusion: Confusion, names: Sequence[str], *, side: float) -> None:
    axes = figure.subplots()
    small = len(names) <= CELLS_WITH_NUMBERS
    texts = [[f"{count}" if count else "" for count in row] for row in confusion.counts.tolist()] if small else []
    shares = np.where(confusion.counts > 0, 100 * confusion.shares, np.nan)
    artist = matrix(axes, shares, low=0.0, high=100.0, texts=texts)
    name_square(axes, names)
    axes.set_ylabel("class", fontsize=SMALL)
    axes.set_xlabel("taken for", fontsize=SMALL)
    colour_bar(figure, artist, axes, text="of the class's samples, %", size=(side, side))


def reliability_panel(reliability: Reliability) -> Panel:
    """Return observed share against stated probability, above how many samples state it."""
    return Panel(
        title="Are stated probabilities true?",
        width=4.3,
        height=4.0,
        draw=lambda figure: _draw_reliability(figure, reliability),
    )


def _draw_reliability(figure: SubFigure, reliability: Reliability) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    full = reliability.counts > 0
    upper.grid(color=RULE, linewidth=0.5)
    upper.set_axisbelow(True)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label="as stated")
    upper.plot(
        reliability.stated[full],
        reliability.observed[full],
        color=BLUE,
        linewidth=1.4,
        marker="o",
        markersize=4.5,
        label="observed",
    )
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    upper.set_ylabel("share that is right", fontsize=SMALL)
    upper.tick_params(labelbottom=False)
    upper.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, handlelength=1.8)
    edges = np.arange(ECE_BINS) / ECE_BINS
    lower.bar(edges[full], reliability.counts[full], width=0.9 / ECE_BINS, align="edge", color=SKY)
    lower.set_yscale("log")
    lower.set_ylim(0.6, 4.0 * max(1, int(reliability.counts.max())))
    lower.yaxis.set_major_locator(LogLocator(numticks=4))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    lower.yaxis.set_minor_formatter(NullFormatter())
    lower.set_ylabel("scores", fontsize=SMALL)
    lower.set_xlabel("stated probability", fontsize=SMALL)
