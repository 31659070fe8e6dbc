"""From an exception to its exit code and to what the person can do about it."""

from __future__ import annotations

from modhub import errors

BUG = 70
INTERRUPTED = 130

EXIT_CODES: tuple[tuple[type[errors.ModhubError], int], ...] = (
    (errors.UsageError, 2),
    (errors.InvalidRequirement, 2),
    (errors.NotFound, 3),
    (errors.IntegrityError, 4),
    (errors.VersionTaken, 1),
    (errors.HubError, 5),
)
"""Subclasses first: the first match counts. All other errors are a "no", code 1."""

ADVICE: tuple[tuple[type[errors.ModhubError], str], ...] = (
    (errors.VersionTaken, "Published releases never change: give the new content a new version (--version)."),
    (errors.CommitConflict, "Somebody published at the same moment: try again."),
    (errors.AccessDenied, "Log in with `modhub login REGISTRY`, or set MODHUB_TOKEN."),
    (errors.IntegrityError, "Do not use these bytes. If the store is damaged, installing again heals it."),
    (errors.StorageError, "Free some space or choose a folder you may write to, then run the same command again."),
    (errors.UnsupportedOperator, "Export the model without this operator, or report it with the model attached."),
)
"""What to do, by error; subclasses first."""


def exit_code_of(error: errors.ModhubError) -> int:
    """Return the exit code that an error stands for."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def explain(error: errors.ModhubError) -> str:
    """Return one readable paragraph: what is wrong, and what to do where there is something to do."""
    text = safe_text(str(error))
    advice = next((text for kind, text in ADVICE if isinstance(error, kind)), "")
    stop = "" if text.endswith((".", "!", "?")) else "."
    return f"{text}{stop} {advice}" if advice else text


def safe_text(text: str) -> str:
    """Return text without characters that would steer a terminal."""
    return "".join(char if char == "\n" or char.isprintable() else repr(char)[1:-1] for char in text)
