"""The lock of an answer: forms, reasons, and everything an installation needs."""

from __future__ import annotations

import pytest

from modhub.resolver.solve import Options, Resolution, solve
from modhub.spec.lock import Lock
from modhub.spec.names import PackageId
from modhub.spec.requirements import parse_requirement
from tests.support.catalogs import RUNTIME, Shop, digest_of, files, image

BASE_BYTES = 1_000_000
BOTH_FORMS = {**files("delta", size=4_000), **files("standalone", size=400_000)}


def lock_of(shop: Shop, *texts: str, options: Options | None = None, cached: tuple[str, ...] = ()) -> Lock:
    """Return the lock that requirements get."""
    answer = solve(shop.catalog(), [parse_requirement(text) for text in texts], options=options)
    assert isinstance(answer, Resolution), str(answer)
    return answer.lock(created_by="modhub 0.1.0", target=RUNTIME, cached=cached)


def forms_of(lock: Lock) -> dict[str, str]:
    """Return the form of each package by its own name."""
    return {module.package.name: module.form for module in lock.modules}


@pytest.fixture
def pets() -> Shop:
    """Return five modules of one base that come in both forms."""
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0")
    for name in ("cat", "dog", "cow", "eel", "fox"):
        # Equal content would be fetched once, so each file has a size of its own.
        forms = {**files("delta", size=4_000 + len(name)), **files("standalone", size=400_000 + sum(name.encode()))}
        shop.delta(f"acme/pets/{name}", "1.0.0", base="1.0.0", forms=forms)
    return shop


def test_a_lock_holds_all_that_an_installation_needs() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0")
    shop.delta("acme/pets/cat", "1.1.0", base="1.0.0")
    lock = lock_of(shop, "acme/pets/cat>=1", "class:cat")
    base, cat = lock.modules
    assert (base.name, base.version, base.kind, base.form) == ("acme/pets/base", "1.0.0", "base", "standalone")
    assert (cat.name, cat.version, cat.kind, cat.form) == ("acme/pets/cat", "1.1.0", "module", "delta")
    assert (cat.registry, cat.revision, cat.license, cat.classes) == ("memory:shop", "1", "MIT", ("cat",))
    assert cat.manifest_sha256 == digest_of("acme/pets/cat", "1.1.0")
    assert cat.files == files("delta", size=4_000)["delta"]
    assert cat.depends == ("acme/pets/base==1.0.0",)
    assert cat.why == ("acme/pets/cat>=1", "class:cat")
    assert base.why == ("acme/pets/cat 1.1.0",)
    assert lock.requirements == ("acme/pets/cat>=1", "class:cat")
    assert (lock.created_by, lock.target) == ("modhub 0.1.0", RUNTIME)
    assert Lock.from_toml(lock.to_toml()) == lock


def test_one_module_travels_whole_and_leaves_its_base_behind(pets: Shop) -> None:
    lock = lock_of(pets, "acme/pets/cat")
    assert forms_of(lock) == {"cat": "standalone"}
    assert lock.modules[0].depends == ()


def test_many_modules_travel_as_deltas_with_their_base_once(pets: Shop) -> None:
    names = ("cat", "cow", "dog", "eel", "fox")
    lock = lock_of(pets, *(f"acme/pets/{name}" for name in names))
    assert forms_of(lock) == {"base": "standalone"} | dict.fromkeys(names, "delta")


def test_a_base_that_is_there_already_costs_nothing(pets: Shop) -> None:
    base = files("standalone", size=BASE_BYTES)["standalone"][0].sha256
    assert forms_of(lock_of(pets, "acme/pets/cat", cached=(base,))) == {"base": "standalone", "cat": "delta"}


def test_a_module_that_is_there_already_stays_whole(pets: Shop) -> None:
    whole = tuple(
        file.sha256
        for name in ("cat", "cow", "dog", "eel")
        for candidate in pets.catalog().releases(PackageId.parse(f"acme/pets/{name}"))
        for file in candidate.release.forms["standalone"]
    )
    names = [f"acme/pets/{name}" for name in ("cat", "cow", "dog", "eel")]
    assert set(forms_of(lock_of(pets, *names, cached=whole)).values()) == {"standalone"}


def test_a_variant_asks_for_a_form(pets: Shop) -> None:
    assert forms_of(lock_of(pets, "acme/pets/cat[delta]")) == {"base": "standalone", "cat": "delta"}
    assert forms_of(lock_of(pets, "acme/pets/cat[standalone]")) == {"cat": "standalone"}


def test_a_base_that_one_module_needs_anyway_serves_the_others(pets: Shop) -> None:
    lock = lock_of(pets, "acme/pets/cat[delta]", "acme/pets/dog")
    assert forms_of(lock) == {"base": "standalone", "cat": "delta", "dog": "delta"}


def test_a_base_asked_for_by_name_is_there_and_serves_its_modules(pets: Shop) -> None:
    lock = lock_of(pets, "acme/pets/base", "acme/pets/cat", options=Options(compatible=False))
    assert forms_of(lock) == {"base": "standalone", "cat": "delta"}
    assert lock.modules[0].why == ("acme/pets/base", "acme/pets/cat 1.0.0")


def test_modules_of_several_bases_are_planned_base_by_base(pets: Shop) -> None:
    pets.base("acme/zoo/base", "1.0.0", forms=files("standalone", size=100))
    pets.delta("acme/zoo/ape", "1.0.0", base="1.0.0", forms=BOTH_FORMS)
    assert forms_of(lock_of(pets, "acme/pets/cat", "acme/zoo/ape")) == {
        "ape": "delta",
        "base": "standalone",
        "cat": "standalone",
    }


def test_a_lock_keeps_its_versions_but_for_the_packages_to_upgrade() -> None:
    shop = Shop()
    for name in ("acme/pets/cat", "acme/zoo/dog"):
        shop.add(name, "1.0.0")
    old = lock_of(shop, "acme/pets/cat", "class:dog")
    for name in ("acme/pets/cat", "acme/zoo/dog"):
        shop.add(name, "2.0.0")
    cat = PackageId.parse("acme/pets/cat")
    wanted = ("acme/pets/cat", "class:dog")
    assert lock_of(shop, *wanted, options=Options().keeping(old)) == old
    mixed = lock_of(shop, *wanted, options=Options().keeping(old, upgrading=[cat]))
    assert [module.version for module in mixed.modules] == ["2.0.0", "1.0.0"]


def test_each_release_knows_why_it_was_chosen(pets: Shop) -> None:
    pets.add("acme/zoo/ape", "1.0.0", input=image(32))
    wanted = [parse_requirement(text) for text in ("class:cat", "acme/pets/dog>=1", "acme/pets/cat")]
    answer = solve(pets.catalog(), wanted)
    assert isinstance(answer, Resolution)
    assert answer.why(PackageId.parse("acme/pets/cat")) == ("class:cat", "acme/pets/cat")
    assert answer.why(PackageId.parse("acme/pets/base")) == ("acme/pets/cat 1.0.0", "acme/pets/dog 1.0.0")
