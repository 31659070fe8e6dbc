"""Sentences about releases: ``acme/pets/cat 1.0.0 and 1.1.0 take image RGB [batch, 3, 32, 32]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PLURALS = {
    "is": "are",
    "has": "have",
    "takes": "take",
    "needs": "need",
    "comes": "come",
    "returns": "return",
    "provides": "provide",
    "scores": "score",
    "lies": "lie",
}

LISTED = 4
"""More versions than these are told by the first and the last."""


@dataclass(frozen=True)
class Phrase:
    """What a sentence says of its subject: a verb in the singular, and the rest."""

    verb: str
    rest: str


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A phrase that holds for some versions of a package, oldest first, or for a subject without versions.

    `place` is the registry that they lie in, where that has to be said.
    """

    subject: str
    versions: tuple[str, ...] = ()
    place: str = ""
    phrase: Phrase

    def __str__(self) -> str:
        """Return the sentence, without a full stop."""
        verb = PLURALS[self.phrase.verb] if len(self.versions) > 1 else self.phrase.verb
        place = f"of {self.place}" if self.place else ""
        return " ".join(filter(None, (self.subject, listed_versions(self.versions), place, verb, self.phrase.rest)))


def listed(items: Sequence[str], *, word: str = "and") -> str:
    """Return items as a sentence lists them: ``a``, ``a and b``, ``a, b and c``."""
    return f" {word} ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def listed_versions(versions: Sequence[str]) -> str:
    """Return versions as a sentence lists them, many of them by their first and last."""
    if len(versions) <= LISTED:
        return listed(versions)
    return f"{versions[0]} to {versions[-1]} ({len(versions)} releases)"
