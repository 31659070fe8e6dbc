"""Panels as a file: PNG, SVG, or SVG for the inside of a page."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from modhub.report.figures.style import BLUE, EMPTY, INK, MUTED, PAPER, RULE, SETTINGS, SKY, TITLE, VERMILION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import SubFigure

    from modhub.report.figures.style import Panel

DPI, PIXELS = 200, 12_000
"""Dots per inch of a PNG, and the most dots along a side: a longer one gets fewer per inch."""
PAGE_WIDTH = 9.6
"""Inches up to which panels stand side by side."""
SPARE = 0.05
"""Inches that are not worth a part of their own."""
NAME = re.compile(rb'(\bid="|href="#|url\(#)(\w*?[0-9a-f]{10})(?=["\)])')
"""A name that is a digest, where it is given and where it is meant."""
FONTS = "'DejaVu Sans', Verdana, sans-serif"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    EMPTY: "--empty",
    PAPER: "--paper",
    BLUE: "--blue",
    VERMILION: "--vermilion",
    SKY: "--sky",
}
"""Colours that a page decides about, for light and for dark."""


def render(panels: Sequence[Panel], *, format: str) -> bytes:
    """Return panels as one picture, those that fit side by side, the others below one another.

    Args:
        panels: what to draw.
        format: ``png`` or ``svg``.
    """
    rows = rows_of(panels)
    width = max(sum(panel.width for panel in row) for row in rows)
    heights = [max(panel.height for panel in row) for row in rows]
    data = io.BytesIO()
    # The stub lists every key as a literal type.
    settings: Any = SETTINGS
    # The settings hold while the figure is made and saved, and are put back; two threads must not draw at once.
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes in a PNG, and right in an SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, sum(heights)), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
        lines = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
        for line, row, height in zip(lines, rows, heights, strict=True):
            _draw_row(line, row, width=width, height=height)
        dpi = min(DPI, PIXELS / max(width, sum(heights)))
        # Without a date, equal values give equal bytes.
        metadata = {"Date": None, "Creator": None} if format == "svg" else {"Software": "modhub"}
        figure.savefig(data, format=format, dpi=dpi, metadata=metadata)
    if format == "png":
        return data.getvalue()
    return with_own_names(data.getvalue()).replace(b"'DejaVu Sans'", FONTS.encode())


def with_own_names(svg: bytes) -> bytes:
    """Return an SVG of matplotlib's with the names inside it numbered in the order in which they come.

    A name there is a digest of a number drawn at random and of what it stands for, every digit of its place included.
    The layout's solver leaves the last digits to chance too; what is drawn is written with six, so that the names alone
    would differ from time to time.
    """
    numbers: dict[bytes, int] = {}

    def renamed(name: re.Match[bytes]) -> bytes:
        return b"%sn%d" % (name[1], numbers.setdefault(name[2], len(numbers)))

    return NAME.sub(renamed, svg)


def _draw_row(line: SubFigure, row: Sequence[Panel], *, width: float, height: float) -> None:
    """Draw panels side by side, each in its own size, with what is left over to the right and below."""
    spare = width - sum(panel.width for panel in row)
    ratios = [panel.width for panel in row] + ([spare] if spare > SPARE else [])
    parts = line.subfigures(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    for part, panel in zip(parts, row, strict=False):
        below = height - panel.height
        own = part.subfigures(2, 1, height_ratios=[panel.height, below])[0] if below > SPARE else part
        if panel.title:
            own.suptitle(panel.title, x=0.08 / panel.width, ha="left", fontsize=TITLE, fontweight="bold", color=INK)
        panel.draw(own)


def rows_of(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Return panels in rows, as many in each as fit."""
    limit = max(PAGE_WIDTH, *(panel.width for panel in panels))
    rows: list[list[Panel]] = []
    for panel in panels:
        if rows and sum(other.width for other in rows[-1]) + panel.width <= limit:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows


def inline_svg(panel: Panel, *, number: int, text: str) -> str:
    """Return a panel as an ``<svg>`` element for a page, its colours the page's variables.

    Args:
        panel: what to draw; its title is left to the page.
        number: makes the names inside it differ from those of other pictures of the page.
        text: what it shows, for people who do not see it; already escaped.
    """
    svg = render([panel], format="svg").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\b(?:style|fill|stroke)="[^"]*"', _themed, svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>f{number}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{text}" ', 1)


def _themed(style: re.Match[str]) -> str:
    name, _, value = style[0].partition("=")
    for colour, variable in VARIABLES.items():
        value = value.replace(colour, f"var({variable})")
    # A presentation attribute knows no variables, a style does.
    return f"{name}={value}" if name == "style" or "var(" not in value else f'style="{name}: {value[1:-1]}"'
