"""The card of a repository: the front matter of its README.md, which searching goes by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CARD_FILE = "README.md"
CARD_BYTES = 1 << 20
"""A card of which the front matter is read."""

FRONT_LENGTH = 256 << 10
"""Characters of front matter. Cards with hundreds of results have some tens of thousands."""

DEPTH = 32
"""Nesting of front matter. Those of the Hub need 7, and the library's time grows with its square."""

FENCE = "---"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)


class CardProblem(ValueError):
    """The front matter cannot be read."""


def read_card(data: bytes) -> dict[str, Any]:
    """Return the front matter of a card; an empty one where there is none.

    Raises:
        CardProblem: it is no YAML, holds aliases, or what JSON cannot say.
    """
    front = _front_matter(data)
    if len(front) > FRONT_LENGTH:
        raise CardProblem(f"the front matter has more than {FRONT_LENGTH} characters")
    try:
        _check_tokens(front)
        found = yaml.load(front, LOADER)  # noqa: S506  It is a safe one.
        text = json.dumps(found if found is not None else {}, default=str, allow_nan=False)
        document = json.loads(text.encode("utf-8"))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise CardProblem(f"the front matter cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise CardProblem(f"the front matter is {type(document).__name__}; expected names and values")
    return document


def problem_of(data: bytes) -> str:
    """Return what is wrong with a card; empty where nothing is."""
    try:
        read_card(data)
    except CardProblem as error:
        return str(error)
    return ""


def tags_of(card: Mapping[str, Any]) -> list[str]:
    """Return the words that a repository with this card is found by, as on the Hub."""
    return list(dict.fromkeys(tag for tag in _tags(card) if tag.isprintable()))


def _tags(card: Mapping[str, Any]) -> Iterator[str]:
    for name in ("library_name", "pipeline_tag"):
        yield from _texts(card.get(name))
    yield from _texts(card.get("tags"))
    yield from _texts(card.get("language"))
    for name, prefix in (("license", "license"), ("base_model", "base_model"), ("datasets", "dataset")):
        for value in _texts(card.get(name)):
            yield f"{prefix}:{value}"


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [value for value in values if isinstance(value, str)]


def _check_tokens(front: str) -> None:
    """Check that a text is not one that grows when it is read.

    Raises:
        CardProblem: it holds an alias, or is nested too deep.
        YAMLError: it is no YAML.
    """
    depth = 0
    for token in yaml.scan(front, Loader=LOADER):
        if isinstance(token, yaml.AliasToken):
            raise CardProblem("the front matter holds an alias (*); write the value out")
        depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
        if depth > DEPTH:
            raise CardProblem(f"the front matter is nested more than {DEPTH} deep")


def _front_matter(data: bytes) -> str:
    """Return the text between the first two lines of three dashes; empty where there is none."""
    lines = data[:CARD_BYTES].decode("utf-8", "replace").lstrip("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        return ""
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == FENCE:
            return "\n".join(lines[1:number])
    return ""
