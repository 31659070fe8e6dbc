"""Long lists, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub_registry.routes.asked import Asked

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Part(Generic[Item]):
    """A part of a list: its items, which part it is, of how many, and how to get the others."""

    items: Sequence[Item]
    number: int
    count: int
    total: int
    back: str = ""
    on: str = ""


def part_of(asked: Asked, items: Sequence[Item], *, size: int, name: str = "page") -> Part[Item]:
    """Return the part of a list that an address asks for, the last one where it asks for more.

    Args:
        size: items of a part.
        name: what the address calls the number of the part, from 1.

    Raises:
        Malformed: the number is none.
    """
    count = max(1, -(-len(items) // size))
    number = max(1, min(asked.number(name, 1) if asked.query(name) else 1, count))
    return Part(
        items=items[(number - 1) * size : number * size],
        number=number,
        count=count,
        total=len(items),
        back=_address(asked, name, number - 1) if number > 1 else "",
        on=_address(asked, name, number + 1) if number < count else "",
    )


def _address(asked: Asked, name: str, number: int) -> str:
    kept = [(key, value) for key, value in asked.request.query_params.multi_items() if key != name and value]
    return f"?{urlencode([*kept, (name, str(number))])}"
