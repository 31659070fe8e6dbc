"""The pictures of a subject: which there are, as numbers and as files."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from modhub.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.report.figures.style import Panel
    from modhub.report.subject import Subject

KINDS = ("kept", "overlap", "curve", "sites")
FORMATS = ("png", "svg", "html")
WHY = {
    "kept": "it holds no masks: give a module in the form delta, or a collection of them",
    "overlap": "it takes two modules to have something in common: give a collection or a composite",
    "curve": "no report.json beside it tells what the decomposer saw: give a collection that `decompose` wrote",
}
"""Why a target may have no picture of a kind."""


def need_plot(purpose: str) -> None:
    """Check that what draws is installed.

    Raises:
        MissingExtra: it is not.
    """
    for package in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra="plot", purpose=purpose)


def kinds_of(subject: Subject, wanted: Sequence[str] = ()) -> list[str]:
    """Return the kinds of pictures to draw: those asked for, or all that apply; sites where there is nothing else.

    Raises:
        UsageError: the subject has no picture of a kind that was asked for.
    """
    values = {"kept": subject.kept, "overlap": subject.overlap, "curve": subject.curve, "sites": subject.sites}
    for kind in wanted:
        if values[kind] is None:
            raise UsageError(f"{subject.name} has no picture of kind {kind!r}: {WHY[kind]}")
    if wanted:
        return list(dict.fromkeys(wanted))
    found = [kind for kind in KINDS if values[kind] is not None and kind != "sites"]
    return found if subject.kept is not None else ["sites", *found]


def numbers(subject: Subject, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the numbers of the pictures of some kinds, as plain values."""
    values = {"kept": subject.kept, "overlap": subject.overlap, "curve": subject.curve}
    found: dict[str, Any] = {"target": subject.name}
    for kind in kinds:
        value = values.get(kind)
        found[kind] = [row.to_dict() for row in subject.sites.sites] if value is None else value.to_dict()
    return found


def panels_of(subject: Subject, kinds: Sequence[str]) -> dict[str, Panel]:
    """Return the pictures of some kinds, to be drawn."""
    from modhub.report.figures.curve import curve_panel
    from modhub.report.figures.kept import kept_panel
    from modhub.report.figures.overlap import overlap_panel
    from modhub.report.figures.sites import sites_panel

    found: dict[str, Panel] = {}
    for kind in kinds:
        if kind == "kept" and subject.kept is not None:
            found[kind] = kept_panel(subject.kept)
        if kind == "overlap" and subject.overlap is not None:
            found[kind] = overlap_panel(subject.overlap)
        if kind == "curve" and subject.curve is not None:
            found[kind] = curve_panel(subject.curve)
        if kind == "sites":
            found[kind] = sites_panel(subject.sites)
    return found


def picture(subject: Subject, kinds: Sequence[str], *, format: str) -> bytes:
    """Return the pictures of some kinds as one file.

    Args:
        subject: what to draw.
        kinds: of `kinds_of`.
        format: ``png``, ``svg``, or ``html``, a page that needs nothing else.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
    """
    need_plot("a picture")
    panels = panels_of(subject, kinds)
    if format == "html":
        from modhub.report.pages import pictures_page

        return pictures_page(subject.name, panels).encode()
    from modhub.report.figures.sheet import render

    return render(list(panels.values()), format=format)
