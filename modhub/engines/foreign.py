"""The words of other libraries' errors, made fit to be repeated."""

from __future__ import annotations

MAX_LENGTH = 300


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type, without anything that could command a terminal."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return "".join(c if c.isprintable() else "?" for c in line)[:MAX_LENGTH]
