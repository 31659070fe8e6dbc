"""Where a name is looked up: in the registry that was asked, and in no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.resolver.catalog import IndexCatalog, Listing
from modhub.resolver.solve import Conflict, Resolution, solve
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from modhub.spec.names import CollectionId, PackageId
from modhub.spec.requirements import parse_requirement
from tests.support.catalogs import Shop, image, release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modhub.resolver.catalog import Candidate
    from modhub.spec.index import Release

OURS, THEIRS = "memory:ours", "memory:theirs"


def listing(registry: str, collection: str, *releases: Release) -> Listing:
    """Return a collection of some releases as a registry lists it."""
    index = Index().adding(releases, previous=sha256(b""))
    return Listing(collection=CollectionId.parse(collection), index=index, registry=registry, revision="1")


def module(name: str, version: str, **changes: object) -> Release:
    """Return a release of a module."""
    return release(name, version, **changes)


class Recording(IndexCatalog):
    """A catalog that notes what it was asked."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        super().__init__(listings)
        self.asked: list[str] = []

    def releases(self, package: PackageId, *, origin: str | None = None) -> tuple[Candidate, ...]:
        """Return what the catalog returns."""
        self.asked.append(f"{package.collection} @ {origin}")
        return super().releases(package, origin=origin)

    def providers(self, capability: str, *, origin: str | None = None) -> tuple[PackageId, ...]:
        """Return what the catalog returns."""
        self.asked.append(f"{capability} @ {origin}")
        return super().providers(capability, origin=origin)


def registries() -> Recording:
    """Return two registries with a collection of one name, theirs with newer versions, and one more each."""
    return Recording(
        [
            listing(OURS, "acme/pets", module("acme/pets/cat", "1.0.0"), module("acme/pets/dog", "1.0.0")),
            listing(OURS, "acme/zoo", module("acme/zoo/cow", "1.0.0")),
            listing(THEIRS, "acme/pets", module("acme/pets/cat", "9.0.0"), module("acme/pets/dog", "9.0.0")),
            listing(THEIRS, "evil/pets", module("evil/pets/cat", "9.0.0"), module("evil/pets/eel", "9.0.0")),
        ]
    )


def chosen(catalog: Recording, *texts: str) -> list[str]:
    """Return what requirements got, with the registry that it came from."""
    answer = solve(catalog, [parse_requirement(text) for text in texts])
    assert isinstance(answer, Resolution), str(answer)
    return [f"{part} of {part.registry}" for part in answer.parts]


def told(catalog: Recording, *texts: str) -> list[str]:
    """Return the lines of a conflict."""
    answer = solve(catalog, [parse_requirement(text) for text in texts])
    assert isinstance(answer, Conflict)
    return str(answer).splitlines()


def test_without_an_origin_the_first_registry_counts_whatever_another_has() -> None:
    assert chosen(registries(), "acme/pets/cat") == [f"acme/pets/cat 1.0.0 of {OURS}"]
    assert told(registries(), "acme/pets/cat>=9")[1] == "  acme/pets/cat 1.0.0 is outside >=9"


def test_with_an_origin_that_registry_alone_counts() -> None:
    assert chosen(registries(), f"acme/pets/cat @ {THEIRS}") == [f"acme/pets/cat 9.0.0 of {THEIRS}"]
    assert told(registries(), f"acme/zoo/cow @ {THEIRS}")[:2] == [
        f"nothing satisfies acme/zoo/cow @ {THEIRS}",
        "  there is no package acme/zoo/cow",
    ]


def test_a_class_is_looked_for_where_it_was_asked() -> None:
    assert chosen(registries(), f"class:eel @ {THEIRS}") == [f"evil/pets/eel 9.0.0 of {THEIRS}"]
    assert told(registries(), f"class:eel @ {OURS}") == [
        f"nothing satisfies class:eel @ {OURS}",
        "  nothing provides class:eel",
    ]


def test_parts_of_one_collection_may_come_from_two_registries() -> None:
    found = chosen(registries(), "acme/pets/cat", f"acme/pets/dog @ {THEIRS}")
    assert found == [f"acme/pets/cat 1.0.0 of {OURS}", f"acme/pets/dog 9.0.0 of {THEIRS}"]


def test_one_package_of_two_registries_is_a_conflict_that_names_both() -> None:
    assert told(registries(), "acme/pets/cat", f"acme/pets/cat @ {THEIRS}")[:3] == [
        f"cannot combine acme/pets/cat with acme/pets/cat @ {THEIRS}",
        "  acme/pets/cat allows 1.0.0",
        f"  acme/pets/cat @ {THEIRS} allows 9.0.0",
    ]


def test_the_same_version_in_two_registries_is_not_the_same_release() -> None:
    same = [listing(place, "acme/pets", module("acme/pets/cat", "1.0.0")) for place in (OURS, THEIRS)]
    assert chosen(Recording(same), f"acme/pets/cat @ {THEIRS}") == [f"acme/pets/cat 1.0.0 of {THEIRS}"]
    assert told(Recording(same), "acme/pets/cat", f"acme/pets/cat @ {THEIRS}")[0].startswith("cannot combine")


def test_a_base_comes_from_the_registry_of_its_module() -> None:
    listings = []
    for place in (OURS, THEIRS):
        shop = Shop()
        shop.base("acme/pets/base", "1.0.0")
        for name in ("cat", "dog"):
            shop.delta(f"acme/pets/{name}", "1.0.0", base="1.0.0")
        index = shop.catalog().releases
        found = [
            each.release for name in ("base", "cat", "dog") for each in index(PackageId.parse(f"acme/pets/{name}"))
        ]
        listings.append(listing(place, "acme/pets", *found))
    answer = solve(Recording(listings), [parse_requirement(f"acme/pets/cat @ {THEIRS}")])
    assert isinstance(answer, Resolution)
    assert {each.registry for each in answer.chosen.values()} == {THEIRS}
    lines = told(Recording(listings), "acme/pets/cat", f"acme/pets/dog @ {THEIRS}")
    assert lines[0].endswith("they need different versions of acme/pets/base")
    assert lines[1] == f"  acme/pets/cat 1.0.0 of {OURS} is built on acme/pets/base 1.0.0 of {OURS}"
    assert lines[2] == f"  acme/pets/dog 1.0.0 of {THEIRS} is built on acme/pets/base 1.0.0 of {THEIRS}"
    assert lines[4] == f"  acme/pets/cat @ {THEIRS} instead of acme/pets/cat (acme/pets/cat 1.0.0)"


def test_advice_never_leads_to_a_registry_that_nobody_named() -> None:
    catalog = registries()
    assert told(catalog, "acme/pets/cat>=9")[2:] == ["try:", "  acme/pets/cat==1.0.0 instead of acme/pets/cat>=9"]
    assert not any(THEIRS in line for line in catalog.asked)


# What is read


def test_of_the_collections_only_those_named_are_read() -> None:
    catalog = registries()
    chosen(catalog, "acme/pets/cat", "acme/pets/dog")
    assert set(catalog.asked) == {"acme/pets @ None"}


def test_an_origin_is_read_for_what_was_asked_from_it() -> None:
    catalog = registries()
    chosen(catalog, f"acme/pets/cat @ {THEIRS}", "acme/zoo/cow")
    assert set(catalog.asked) == {f"acme/pets @ {THEIRS}", "acme/zoo @ None"}


def test_a_base_of_another_collection_is_read_where_its_module_lies() -> None:
    from modhub.spec.manifest import Dependency
    from tests.support.catalogs import digest_of, files

    need = Dependency(package="far/away/base", version="==1.0.0", sha256=digest_of("far/away/base", "1.0.0"))
    parent = sha256(b"far/away/base 1.0.0")
    cat = module("evil/pets/cat", "1.0.0", dependencies=(need,), forms=files("delta", size=9), parent=parent)
    base = module("far/away/base", "1.0.0", kind="base", semantic="logits", provides=(), parent=parent, input=image())
    catalog = Recording([listing(THEIRS, "evil/pets", cat), listing("memory:far", "far/away", base)])
    assert chosen(catalog, f"evil/pets/cat @ {THEIRS}") == [f"evil/pets/cat 1.0.0 of {THEIRS}"]
    assert set(catalog.asked) == {f"evil/pets @ {THEIRS}", "far/away @ None"}
