"""Names as figures and pages can bear them: on one line, without control characters, not too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 24
"""Characters of a label in a figure."""
ELLIPSIS = "…"
FIRM = "\u00a0"
"""A space where no line ends; Python does not count it as printable."""


def printable(text: str) -> str:
    """Return a text with a space for each sign that is not to be seen, such as those that turn the writing round."""
    return "".join(char if char.isprintable() or char in FIRM else " " for char in text)


def label(text: str, *, most: int = LONGEST) -> str:
    r"""Return a name for a figure: one line of printable characters, its middle left out where it is too long.

    >>> label("a very long name of a layer\nin two lines", most=16)
    'a very l…o lines'
    """
    clean = " ".join(printable(text).split()) or "?"
    if len(clean) <= most:
        return clean
    tail = (most - 1) // 2
    return clean[: most - 1 - tail] + ELLIPSIS + clean[len(clean) - tail :]


def labels(names: Sequence[str], *, most: int = LONGEST) -> list[str]:
    """Return a label per name; names that would look alike get their number behind them."""
    shown = [label(name, most=most) for name in names]
    return [f"{text} {i + 1}" if shown.count(text) > 1 else text for i, text in enumerate(shown)]
