"""What the licences of the parts mean for the whole."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from modhub.errors import ComposeError
from modhub.spec.licences import all_of, terms_of, warnings, wholes

if TYPE_CHECKING:
    from collections.abc import Iterable

INDENT = "    "
REFUSE = "refuse"


def joined_licence(licences: Iterable[str] | Mapping[str, str], *, refuse: bool = True) -> str:
    """Return the SPDX expression of a composite: all licences of its parts apply.

    Args:
        licences: the expressions of the parts, or the same by what the parts are called.
        refuse: whether licences that forbid to make one model of the parts are refused.

    Raises:
        ComposeError: a licence forbids derived works, or two of them let nobody share the whole.
    """
    named = dict(licences) if isinstance(licences, Mapping) else {each: each for each in licences}
    if refuse:
        check_licences(named)
    return all_of(named.values())


def check_licences(licences: Mapping[str, str]) -> None:
    """Check that parts may be made into one model.

    Raises:
        ComposeError: names the parts, and both licences.
    """
    for name, licence in licences.items():
        if terms_of(licence).no_derivatives:
            raise ComposeError(f"{_said(name, licence)} forbids derived works, and a composite is one")
    asking = {name: found for name, licence in licences.items() if (found := wholes(licence)) is not None}
    for one, other in combinations(asking, 2):
        if not asking[one] & asking[other]:
            both = f"{_said(one, licences[one])} and {_said(other, licences[other])}"
            raise ComposeError(f"{both} do not go together: each asks for the whole, in a way that excludes the other")
    if asking and not frozenset.intersection(*asking.values()):
        raise ComposeError(f"no licence can be found for the whole: {', '.join(sorted(set(licences.values())))}")


def notice(licences: Mapping[str, str], *, texts: Mapping[str, str] | None = None) -> str:
    """Return the text of a composite's NOTICE: each part and its licence, what these ask for, and the parts' notices.

    Args:
        licences: expressions by what the parts are called.
        texts: the notices of parts that have one, such as those of composites.
    """
    lines = [f"- {label}: {licence}" for label, licence in licences.items()]
    text = "This model was composed from these modules, each under its own licence:\n\n" + "\n".join(lines) + "\n"
    asked = warnings(licences)
    if asked:
        text += "\nWhat some of them ask for:\n\n" + "\n".join(f"- {each}" for each in asked) + "\n"
    for label, own in (texts or {}).items():
        text += f"\nThe notice of {label}:\n\n" + "".join(
            f"{INDENT}{line}".rstrip() + "\n" for line in own.splitlines()
        )
    return text


def _said(name: str, licence: str) -> str:
    return f"the licence {licence}" if name == licence else f"{name}, licensed {licence},"
