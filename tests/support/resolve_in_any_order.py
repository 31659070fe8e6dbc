"""Print an answer and a conflict of the resolver; run under several hash seeds by the tests."""

from __future__ import annotations

from modhub.resolver.solve import Conflict, solve
from modhub.spec.requirements import parse_requirement
from tests.support.catalogs import Shop, image


def print_answer(shop: Shop, *texts: str) -> None:
    """Print what some requirements get."""
    answer = solve(shop.catalog(), [parse_requirement(text) for text in texts])
    print(answer if isinstance(answer, Conflict) else [str(each) for each in answer.chosen.values()])  # noqa: T201


def main() -> None:
    """Ask for modules that lag behind differently, for classes, and for what cannot be had."""
    shop = Shop()
    shop.base("acme/pets/base", *(f"{number}.0.0" for number in range(6)))
    names = [f"acme/pets/m{number}" for number in range(12)]
    for number, name in enumerate(names):
        for base in range(4 + number % 3):
            shop.delta(name, f"{base}.1.0", base=f"{base}.0.0")
            shop.delta(name, f"{base}.2.0", base=f"{base}.0.0")
    shop.add("acme/zoo/m1", "1.0.0", input=image(64))
    shop.add("acme/zoo/m2", "1.0.0")
    print_answer(shop, *names)
    print_answer(shop, *(f"class:m{number}" for number in range(12)))
    print_answer(shop, *names, "acme/zoo/m1", "acme/pets/m5>=4")


main()
