"""Owners that could be mistaken for one another.

Names are ASCII by their rules, so letters of other alphabets that look alike cannot occur, and names that differ only
in case or separators are one name. What is left are neighbours on the keyboard, swapped letters, and ``rn`` for ``m``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modhub.spec.names import CollectionId

PICTURES = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"))
"""Groups of characters that look like another one."""

SHORT = 4
"""Names with fewer characters are all near one another."""


def lookalikes(wanted: CollectionId, known: Iterable[CollectionId]) -> tuple[str, ...]:
    """Return the other owners among known collections that the owner of one could be mistaken for, sorted.

    >>> from modhub.spec.names import CollectionId
    >>> lookalikes(CollectionId("acrne", "pets"), [CollectionId("acme", "pets"), CollectionId("zoo", "pets")])
    ('acme',)
    """
    others = {collection.owner for collection in known} - {wanted.owner}
    return tuple(sorted(owner for owner in others if is_near(owner, wanted.owner)))


def is_near(first: str, second: str) -> bool:
    """Tell whether two names look alike, or are one slip of a finger apart; numbers at their ends tell names apart.

    >>> is_near("modhub", "modhbu"), is_near("team1", "team2"), is_near("cat", "car")
    (True, False, False)
    """
    first, second = first.lower(), second.lower()
    if _picture(first) == _picture(second):
        return True
    if min(len(first), len(second)) < SHORT or _stem(first) == _stem(second):
        return False
    return _is_one_slip(first, second)


def _picture(name: str) -> str:
    for written, seen in PICTURES:
        name = name.replace(written, seen)
    return "".join(char for char in name if char.isalnum())


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _is_one_slip(first: str, second: str) -> bool:
    """Tell whether one character was left out, put in, changed, or swapped with the next."""
    short, long = sorted((first, second), key=len)
    if len(long) - len(short) > 1:
        return False
    if len(short) < len(long):
        return any(long[:position] + long[position + 1 :] == short for position in range(len(long)))
    wrong = [position for position, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
    if len(wrong) != 2:
        return len(wrong) < 2
    left, right = wrong
    return right == left + 1 and (first[left], first[right]) == (second[right], second[left])
