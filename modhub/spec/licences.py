"""What licences ask for, from their SPDX expressions: a table, and rules that err on the safe side.

A licence has a *level*, the more it asks for the higher: ``permissive`` (keep the notice), ``attribution`` (name the
authors where it is used), ``weak-copyleft`` (changed files stay under it), ``strong-copyleft`` (the whole goes under
it). Two marks stand beside the level: *non-commercial*, and *no derivatives*. A licence that is not in the table is
*unknown*: nothing is assumed about it.

Identifiers are those of the SPDX licence list 3.27. What is said of each comes from its own text; where that is not
its plain purpose, the clause stands beside the entry. This is no legal advice: whether weights are a work at all, and
what is derived from them, differs from country to country.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from packaging.licenses import canonicalize_license_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")
Wholes: TypeAlias = "frozenset[str] | None"

LEVELS = ("permissive", "attribution", "weak-copyleft", "strong-copyleft")

TABLE: Mapping[str, str] = {
    "permissive": """
        0BSD AFL-3.0 Apache-2.0 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSL-1.0
        CC0-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 ISC MIT MIT-0 NCSA PDDL-1.0 PostgreSQL Python-2.0
        UPL-1.0 Unlicense WTFPL Zlib
    """,
    # See 3(a) of CC-BY-4.0, 4.2 of ODC-By-1.0, and clause 3 of BSD-4-Clause, on advertising.
    "attribution": "BSD-4-Clause CC-BY-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 "
    "CC-BY-NC-4.0 CC-BY-ND-2.0 CC-BY-ND-3.0 CC-BY-ND-4.0 CC-BY-NC-ND-2.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 ODC-By-1.0",
    # See 3.1 of MPL-2.0, 6 of LGPL-2.1, 4 of LGPL-3.0, 3 of EPL-2.0, 3.1 of CDDL-1.0, 3(D) of MS-PL.
    "weak-copyleft": """
        CDDL-1.0 CDDL-1.1 EPL-1.0 EPL-2.0 LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only
        LGPL-3.0-or-later MPL-1.1 MPL-2.0 MS-PL MS-RL
    """,
    # See 2(b) of GPL-2.0, 5(c) of GPL-3.0, 5(c) and 13 of AGPL-3.0, 3(b) of CC-BY-SA-4.0, 4.4 of ODbL-1.0, 1(c) of
    # OSL-3.0, 5 of EUPL-1.2, and 3 of CDLA-Sharing-1.0.
    "strong-copyleft": """
        AGPL-3.0-only AGPL-3.0-or-later CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CDLA-Sharing-1.0
        EUPL-1.2 GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later ODbL-1.0 OSL-3.0
    """,
}
LEVEL_OF = {name: LEVELS.index(level) for level, names in TABLE.items() for name in names.split()}

WHOLES: Mapping[str, str] = {
    "AGPL-3.0-only": "AGPL-3.0",
    "AGPL-3.0-or-later": "AGPL-3.0",
    "CC-BY-NC-SA-3.0": "CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0",  # 4(b): a later version of the same.
    "CC-BY-NC-SA-4.0": "CC-BY-NC-SA-4.0",
    "CC-BY-SA-3.0": "CC-BY-SA-3.0 CC-BY-SA-4.0",  # 4(b): a later version of the same.
    "CC-BY-SA-4.0": "CC-BY-SA-4.0 GPL-3.0",  # Creative Commons' list of compatible licences, one way.
    "CDLA-Sharing-1.0": "CDLA-Sharing-1.0",
    "EUPL-1.2": "AGPL-3.0 EUPL-1.2 GPL-2.0 GPL-3.0 OSL-3.0",  # Its appendix.
    "GPL-2.0-only": "GPL-2.0",
    "GPL-2.0-or-later": "AGPL-3.0 GPL-2.0 GPL-3.0",
    "GPL-3.0-only": "AGPL-3.0 GPL-3.0",  # 13: it may be combined with AGPL-3.0.
    "GPL-3.0-or-later": "AGPL-3.0 GPL-3.0",
    "ODbL-1.0": "ODbL-1.0",
    "OSL-3.0": "OSL-3.0",
}
"""Under what a whole may go that holds a part under such a licence. Anything else: the licence does not ask."""

NON_COMMERCIAL_WHOLES = frozenset({"CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "terms for non-commercial use"})
"""Copyleft licences but these forbid to add the restriction that use is not commercial."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a licence asks for.

    Args:
        level: position in `LEVELS`.
        non_commercial: whether commercial use is forbidden.
        no_derivatives: whether sharing derived works is forbidden.
        unknown: the licences in it that the table lacks.
    """

    level: int = 0
    non_commercial: bool = False
    no_derivatives: bool = False
    unknown: frozenset[str] = frozenset()

    @property
    def burden(self) -> tuple[bool, bool, bool, int]:
        """How much it asks for, as a value that compares: of two licences to choose from, the lesser is taken."""
        return bool(self.unknown), self.no_derivatives, self.non_commercial, self.level

    def __and__(self, other: Terms) -> Terms:
        """Return what two licences ask for that both apply: of everything the more."""
        return Terms(
            level=max(self.level, other.level),
            non_commercial=self.non_commercial or other.non_commercial,
            no_derivatives=self.no_derivatives or other.no_derivatives,
            unknown=self.unknown | other.unknown,
        )

    def __or__(self, other: Terms) -> Terms:
        """Return what two licences ask for of which one may be chosen: the one that asks for less."""
        return min(self, other, key=lambda terms: terms.burden)

    def is_within(self, level: str) -> bool:
        """Tell whether this is known, without marks, and asks for no more than a level of `LEVELS`."""
        return not any(self.burden[:3]) and self.level <= LEVELS.index(level)


def terms_of(expression: str) -> Terms:
    """Return what an SPDX expression asks for; an exception (``WITH``) is not counted on.

    >>> terms_of("MIT AND (CC-BY-4.0 OR GPL-3.0-only)").is_within("attribution")
    True
    """
    return fold(expression, one=_terms, either=Terms.__or__, both=Terms.__and__)


def permits(expression: str, *, allowed: frozenset[str]) -> bool:
    """Return whether an expression can be met with some licences and levels: any of an OR, all of an AND.

    >>> permits("MIT AND (Apache-2.0 OR GPL-3.0-only)", allowed=frozenset({"MIT", "Apache-2.0"}))
    True
    >>> permits("BSD-3-Clause OR GPL-3.0-only", allowed=frozenset({"permissive"}))
    True
    """
    levels = [level for level in LEVELS if level in allowed]

    def one(name: str) -> bool:
        return name in allowed or any(_terms(name).is_within(level) for level in levels)

    return fold(expression, one=one, either=lambda a, b: a or b, both=lambda a, b: a and b)


def wholes(expression: str) -> Wholes:
    """Return the licences that a whole with such a part may have, where the part asks for that; else None.

    >>> sorted(wholes("GPL-3.0-only AND GPL-2.0-or-later"))
    ['AGPL-3.0', 'GPL-3.0']
    """
    return fold(expression, one=_wholes, either=_either, both=_both)


def _either(one: Wholes, other: Wholes) -> Wholes:
    return None if one is None or other is None else one | other


def _both(one: Wholes, other: Wholes) -> Wholes:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def all_of(expressions: Iterable[str]) -> str:
    """Return the expression of something to which several apply.

    >>> all_of(["MIT", "Apache-2.0 OR GPL-2.0-only", "MIT"])
    '(Apache-2.0 OR GPL-2.0-only) AND MIT'
    """
    unique = sorted(set(expressions))
    parts = [f"({each})" if " OR " in each and len(unique) > 1 else each for each in unique]
    return str(canonicalize_license_expression(" AND ".join(parts)))


def warnings(licences: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the user of some parts should know, a sentence each, from their expressions by name."""
    terms = {name: terms_of(expression) for name, expression in licences.items()}
    found = []
    for name, each in terms.items():
        expression = licences[name]
        if each.unknown:
            found.append(f"{name} is licensed {expression}: nothing is known of {', '.join(sorted(each.unknown))}")
        if each.non_commercial:
            found.append(f"{name} is licensed {expression}: commercial use is forbidden, of the whole too")
        if each.level == LEVELS.index("strong-copyleft"):
            found.append(f"{name} is licensed {expression}: whoever shares the whole shares it under that licence")
    return tuple(found)


def fold(expression: str, *, one: Callable[[str], T], either: Callable[[T, T], T], both: Callable[[T, T], T]) -> T:
    """Return the value of an expression, from those of its licences; in SPDX, AND binds closer than OR.

    Args:
        expression: in canonical form; see `modhub.spec.manifest.check_license`.
        one: the value of a licence, an exception included, such as ``GPL-3.0-only WITH GCC-exception-3.1``.
        either: that of two alternatives.
        both: that of two licences that both apply.
    """
    tokens = re.findall(r"[()]|[^\s()]+(?: WITH [^\s()]+)?", expression)

    def any_of() -> T:
        value = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = either(value, all_of())
        return value

    def all_of() -> T:
        value = atom()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = both(value, atom())
        return value

    def atom() -> T:
        token = tokens.pop(0)
        if token != "(":  # noqa: S105  A parenthesis.
            return one(token)
        value = any_of()
        tokens.pop(0)
        return value

    return any_of()


def _terms(name: str) -> Terms:
    plain = _plain(name)
    if plain not in LEVEL_OF:
        return Terms(unknown=frozenset({name}), no_derivatives="-ND-" in f"{plain}-")
    return Terms(
        level=LEVEL_OF[plain],
        non_commercial="-NC-" in f"{plain}-",
        no_derivatives="-ND-" in f"{plain}-",
    )


def _wholes(name: str) -> Wholes:
    plain = _plain(name)
    if plain in WHOLES:
        return frozenset(WHOLES[plain].split())
    return NON_COMMERCIAL_WHOLES if _terms(plain).non_commercial else None


def _plain(name: str) -> str:
    """Return a licence without its exception, and without the sign for later versions."""
    return name.partition(" WITH ")[0].removesuffix("+")
