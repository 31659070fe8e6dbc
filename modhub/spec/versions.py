"""Versions ``X.Y.Z`` and specifiers, PEP 440 by `packaging`.

Only versions that read the same under PEP 440 and SemVer are accepted: three numbers, optionally a pre-release
``aN``, ``bN`` or ``rcN``. Major: the input, the class or the meaning of the score changed. Minor: new weights.
Patch: repackaged, equal outputs.
"""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from modhub.errors import InvalidVersion
from modhub.spec import limits
from modhub.spec.document import shown

VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)((a|b|rc)(0|[1-9][0-9]*))?")
CARET = re.compile(r"\^\s*(?P<numbers>[0-9]+(\.[0-9]+){0,2})(?P<pre>(a|b|rc)[0-9]+)?")
OPERATORS = ("==", "~=", ">=", ">", "<=", "<", "!=")
CLAUSE = re.compile(r"(==|!=|<=|>=|<|>|~=)\s*[0-9]+(\.[0-9]+){0,2}(\.\*|(a|b|rc)[0-9]+)?")


def parse_version(text: str) -> Version:
    """Return the version that a text names, exactly as written.

    Raises:
        InvalidVersion: it is not ``X.Y.Z`` with an optional ``aN``, ``bN`` or ``rcN``.
    """
    if len(text) > limits.VERSION_LENGTH or not VERSION.fullmatch(text):
        raise InvalidVersion(f"expected a version like 1.2.3 or 1.2.3rc1, got {shown(text)}")
    return Version(text)


def parse_specifier(text: str) -> SpecifierSet:
    """Return the versions that a specifier allows; the empty text allows any.

    ``^1.2`` stands for ``>=1.2,<2``, ``^0.3`` for ``>=0.3,<0.4``.

    Raises:
        InvalidVersion: the text is too long or no specifier.
    """
    if len(text) > limits.SPECIFIER_LENGTH:
        raise InvalidVersion(f"expected at most {limits.SPECIFIER_LENGTH} characters, got {shown(text)}")
    if not text.strip():
        return SpecifierSet()
    clauses = ",".join(_clause(clause.strip(), whole=text) for clause in text.split(","))
    try:
        return SpecifierSet(clauses)
    except InvalidSpecifier as error:
        raise _invalid_specifier(text) from error


def format_specifier(specifier: SpecifierSet) -> str:
    """Return a specifier as people write it: the lower bound first, exclusions last."""
    clauses = sorted(specifier, key=lambda clause: (OPERATORS.index(clause.operator), clause.version))
    return ",".join(str(clause) for clause in clauses)


def _clause(text: str, *, whole: str) -> str:
    if caret := CARET.fullmatch(text):
        numbers = [int(number) for number in caret["numbers"].split(".")]
        ceiling = ".".join(str(number) for number in _ceiling(numbers))
        return f">={caret['numbers']}{caret['pre'] or ''},<{ceiling}"
    if not CLAUSE.fullmatch(text):
        raise _invalid_specifier(whole)
    return text


def _ceiling(numbers: list[int]) -> list[int]:
    """Return the first version that may break: the leftmost number that is not zero goes up by one."""
    position = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
    return [*numbers[:position], numbers[position] + 1]


def _invalid_specifier(text: str) -> InvalidVersion:
    return InvalidVersion(f"expected a specifier like >=1.2,<2 or ==1.2.3 or ^1.2, got {shown(text)}")
