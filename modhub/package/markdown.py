"""Text from strangers inside Markdown: shown as it is, never as markup."""

from __future__ import annotations

import re

from modhub.spec.document import UNSAFE

MARKUP = re.compile(
    r"[\\`*_\[\]<>|~&!#$@]|:(?=\S)|(?<=www)\.|^[-+=]|(?:(?<=^\d)|(?<=^\d\d))[.)](?=\s|$)", re.IGNORECASE
)
"""Characters with a meaning, those of links that people only type included, and what begins a list or underlines."""


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, in a paragraph or a table."""
    return MARKUP.sub(r"\\\g<0>", plain(text))


def plain(text: str) -> str:
    """Return a text as one line without control characters."""
    return " ".join(UNSAFE.sub(" ", text).split())


def table(*rows: tuple[str, ...], header: tuple[str, ...]) -> list[str]:
    """Return the lines of a table; cells are escaped, and rows whose last cell is empty are left out."""
    filled = [row for row in rows if row[-1]]
    lines = [header, ("---",) * len(header), *(tuple(escaped(cell) for cell in row) for row in filled)]
    return [f"| {' | '.join(line)} |" for line in lines]
