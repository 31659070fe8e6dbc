"""What the licences of the parts mean for the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.licenses import canonicalize_license_expression

from modhub.errors import ComposeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NO_DERIVATIVES = ("-ND-", "-ND")
"""Marks of licences that forbid derived works; a composite is one."""


def joined_licence(licences: Iterable[str]) -> str:
    """Return the SPDX expression of a composite: all licences of its parts apply.

    Raises:
        ComposeError: a licence forbids derived works.
    """
    unique = sorted(set(licences))
    for licence in unique:
        if any(mark in f"{licence}-" for mark in NO_DERIVATIVES):
            raise ComposeError(f"the licence {licence} forbids derived works, and a composite is one")
    parts = [f"({licence})" if " OR " in licence and len(unique) > 1 else licence for licence in unique]
    return str(canonicalize_license_expression(" AND ".join(parts)))


def notice(licences: Mapping[str, str]) -> str:
    """Return the text of a composite's NOTICE: each part and its licence."""
    lines = [f"- {label}: {licence}" for label, licence in licences.items()]
    return "This model was composed from these modules, each under its own licence:\n\n" + "\n".join(lines) + "\n"
