"""What the resolver chooses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from modhub.errors import UsageError
from modhub.resolver.solve import Conflict, Options, Policy, Resolution, solve
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.manifest import Dependency
from modhub.spec.names import PackageId
from modhub.spec.requirements import parse_requirement
from tests.support.catalogs import RUNTIME, Shop, digest_of, files, image, measured


def chosen(shop: Shop, *texts: str, options: Options | None = None) -> list[str]:
    """Return the releases that requirements got, what they depend on after them."""
    answer = solve(shop.catalog(), [parse_requirement(text) for text in texts], options=options)
    assert isinstance(answer, Resolution), str(answer)
    parts = [str(part) for part in answer.parts]
    return parts + [str(each) for each in answer.chosen.values() if str(each) not in parts]


def is_conflict(shop: Shop, *texts: str, options: Options | None = None) -> bool:
    """Tell whether requirements have no answer."""
    return isinstance(solve(shop.catalog(), [parse_requirement(text) for text in texts], options=options), Conflict)


@pytest.fixture
def pets() -> Shop:
    """Return two versions of a base, and modules of which one lags behind."""
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0", "2.0.0")
    for version, base in (("1.0.0", "1.0.0"), ("1.1.0", "1.0.0"), ("2.0.0", "2.0.0")):
        shop.delta("acme/pets/cat", version, base=base)
    shop.delta("acme/pets/dog", "1.0.0", base="1.0.0")
    return shop


def test_the_newest_version_is_chosen_with_the_base_that_it_names(pets: Shop) -> None:
    assert chosen(pets, "acme/pets/cat") == ["acme/pets/cat 2.0.0", "acme/pets/base 2.0.0"]


def test_a_module_that_lags_behind_holds_the_others_back(pets: Shop) -> None:
    assert chosen(pets, "acme/pets/cat", "acme/pets/dog") == [
        "acme/pets/cat 1.1.0",
        "acme/pets/dog 1.0.0",
        "acme/pets/base 1.0.0",
    ]


def test_nothing_asked_for_is_nothing_chosen(pets: Shop) -> None:
    assert chosen(pets) == []


def test_requirements_on_one_package_add_up(pets: Shop) -> None:
    assert chosen(pets, "acme/pets/cat>=1.1", "acme/pets/cat<2")[0] == "acme/pets/cat 1.1.0"
    assert is_conflict(pets, "acme/pets/cat>=2", "acme/pets/cat<2")


def test_a_digest_names_one_release(pets: Shop) -> None:
    digest = digest_of("acme/pets/cat", "1.0.0")
    assert chosen(pets, f"acme/pets/cat@sha256:{digest}")[0] == "acme/pets/cat 1.0.0"
    assert is_conflict(pets, f"acme/pets/cat@sha256:{sha256(b'other')}")


def test_thirty_modules_of_one_base_get_the_newest_base_that_all_of_them_have() -> None:
    shop = Shop()
    shop.base("acme/pets/base", *(f"{number}.0.0" for number in range(6)))
    names = [f"acme/pets/m{number}" for number in range(30)]
    for number, name in enumerate(names):
        newest = 3 if number == 17 else 3 + number % 3
        for base in range(newest + 1):
            for patch in range(3):
                shop.delta(name, f"{base}.0.{patch}", base=f"{base}.0.0")
    releases = chosen(shop, *names)
    assert releases == [*(f"{name} 3.0.2" for name in names), "acme/pets/base 3.0.0"]


def test_a_base_with_another_digest_is_another_base() -> None:
    shop = Shop()
    other = FileRecord(path="module.json", size=1000, sha256=sha256(b"other"))
    shop.base("acme/pets/base", "1.0.0", manifest=other)
    shop.delta("acme/pets/cat", "1.0.0", base="1.0.0")
    assert is_conflict(shop, "acme/pets/cat")


def test_a_base_needed_under_both_its_names_is_needed_once() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0", "2.0.0")
    local, full = (
        Dependency(package=package, version="==1.0.0", sha256=digest_of("acme/pets/base", "1.0.0"))
        for package in ("./base", "acme/pets/base")
    )
    other = dataclasses.replace(full, version="==2.0.0", sha256=digest_of("acme/pets/base", "2.0.0"))
    shop.delta("acme/pets/cat", "1.0.0", base="1.0.0", dependencies=(local, full))
    shop.delta("acme/pets/dog", "1.0.0", base="1.0.0", dependencies=(local, other))
    assert chosen(shop, "acme/pets/cat") == ["acme/pets/cat 1.0.0", "acme/pets/base 1.0.0"]
    assert is_conflict(shop, "acme/pets/dog")


def test_the_base_lies_in_the_collection_of_the_module() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0")
    shop.delta("mirror/pets/cat", "1.0.0", base="1.0.0")
    assert is_conflict(shop, "mirror/pets/cat")


def test_a_composite_is_whole_and_needs_none_of_its_modules() -> None:
    shop = Shop()
    cat = Dependency(package="acme/gone/cat", version="==1.0.0", sha256=sha256(b"cat"))
    shop.add("acme/pets/both", "1.0.0", kind="composite", semantic="scores", dependencies=(cat,))
    assert chosen(shop, "acme/pets/both") == ["acme/pets/both 1.0.0"]


# Yanked releases and pre-releases


def test_a_yanked_release_is_chosen_only_where_a_lock_has_it() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0")
    shop.add("acme/pets/cat", "1.1.0", yanked="scores dogs")
    pins = {PackageId.parse("acme/pets/cat"): "1.1.0"}
    assert chosen(shop, "acme/pets/cat") == ["acme/pets/cat 1.0.0"]
    assert is_conflict(shop, "acme/pets/cat==1.1.0")
    assert chosen(shop, "acme/pets/cat", options=Options(pins=pins)) == ["acme/pets/cat 1.1.0"]


def test_a_module_goes_with_its_yanked_base() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0", yanked="leaks")
    shop.delta("acme/pets/cat", "1.0.0", base="1.0.0")
    pins = {PackageId.parse("acme/pets/base"): "1.0.0"}
    assert is_conflict(shop, "acme/pets/cat")
    assert chosen(shop, "acme/pets/cat", options=Options(pins=pins))[1] == "acme/pets/base 1.0.0"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("acme/pets/cat", "1.0.0"),
        ("acme/pets/cat>=1,<2", "1.0.0"),
        ("acme/pets/cat>=1.1.0rc1", "1.1.0rc1"),
        ("acme/pets/cat==1.1.0rc1", "1.1.0rc1"),
        ("class:cat", "1.0.0"),
    ],
)
def test_a_prerelease_is_chosen_only_when_a_specifier_names_one(text: str, version: str) -> None:
    shop = Shop()
    for each in ("1.0.0", "1.1.0rc1"):
        shop.add("acme/pets/cat", each)
    assert chosen(shop, text) == [f"acme/pets/cat {version}"]
    early = chosen(shop, text, options=Options(allow_prerelease=True))
    assert early == ["acme/pets/cat 1.1.0rc1"]


def test_a_prerelease_is_no_answer_even_where_it_is_the_only_release() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0rc1")
    assert is_conflict(shop, "acme/pets/cat")


def test_a_module_may_be_built_on_a_prerelease_of_its_base() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0rc1")
    shop.delta("acme/pets/cat", "1.0.0", base="1.0.0rc1")
    assert chosen(shop, "acme/pets/cat") == ["acme/pets/cat 1.0.0", "acme/pets/base 1.0.0rc1"]


# Pins


def test_pins_are_kept_where_the_requirements_allow_it(pets: Shop) -> None:
    pins = {PackageId.parse("acme/pets/cat"): "1.0.0"}
    assert chosen(pets, "acme/pets/cat", options=Options(pins=pins))[0] == "acme/pets/cat 1.0.0"
    assert chosen(pets, "acme/pets/cat>1.0", options=Options(pins=pins))[0] == "acme/pets/cat 2.0.0"


def test_a_pinned_provider_of_a_class_stays() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0", metrics=measured(0.9))
    shop.add("acme/zoo/cat", "1.0.0", metrics=measured(0.8))
    pins = {PackageId.parse("acme/zoo/cat"): "1.0.0"}
    assert chosen(shop, "class:cat") == ["acme/pets/cat 1.0.0"]
    assert chosen(shop, "class:cat", options=Options(pins=pins)) == ["acme/zoo/cat 1.0.0"]


# Classes


def test_a_provider_of_a_base_in_use_beats_a_better_one() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0")
    shop.add("acme/pets/dog", "1.0.0", metrics=measured(0.7))
    shop.add("acme/zoo/dog", "1.0.0", metrics=measured(0.9))
    assert chosen(shop, "class:dog") == ["acme/zoo/dog 1.0.0"]
    assert chosen(shop, "class:dog", "acme/pets/cat")[0] == "acme/pets/dog 1.0.0"


def test_a_module_in_use_serves_its_class_too() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0", metrics=measured(0.7))
    shop.add("acme/pets/kitten", "1.0.0", metrics=measured(0.9), provides=("class:cat",))
    assert chosen(shop, "class:cat") == ["acme/pets/kitten 1.0.0"]
    assert chosen(shop, "class:cat", "acme/pets/cat") == ["acme/pets/cat 1.0.0"] * 2


def test_a_base_that_serves_more_of_the_classes_beats_a_better_one() -> None:
    shop = Shop()
    for name in ("cat", "dog", "cow"):
        shop.add(f"acme/pets/{name}", "1.0.0", metrics=measured(0.7))
    shop.add("acme/zoo/cat", "1.0.0", metrics=measured(0.9))
    wanted = ["class:cat", "class:dog", "class:cow"]
    assert chosen(shop, *wanted) == [f"acme/pets/{name} 1.0.0" for name in ("cat", "dog", "cow")]


@pytest.mark.parametrize(
    ("prefer", "expected"), [("accuracy", "acme/best/cat"), ("size", "acme/small/cat"), ("newest", "acme/young/cat")]
)
def test_the_preference_decides_among_providers_of_other_bases(prefer: str, expected: str) -> None:
    shop = Shop()
    shop.add("acme/best/cat", "1.0.0", metrics=measured(0.9))
    shop.add("acme/small/cat", "1.0.0", metrics=measured(0.8), forms=files("standalone", size=9))
    shop.add("acme/young/cat", "1.0.0", created="2026-11-22T00:00:00Z")
    assert chosen(shop, "class:cat", options=Options(prefer=prefer)) == [f"{expected} 1.0.0"]


def test_the_best_module_of_each_class_may_come_of_another_parent() -> None:
    shop = Shop()
    for name, f1 in {"one/cat": 0.9, "one/dog": 0.5, "other/cat": 0.6, "other/dog": 0.7}.items():
        shop.add(f"acme/{name}", "1.0.0", metrics=measured(f1))
    wanted = ("class:cat", "class:dog")
    assert chosen(shop, *wanted, options=Options(prefer="accuracy")) == ["acme/one/cat 1.0.0", "acme/one/dog 1.0.0"]
    assert chosen(shop, *wanted, options=Options(prefer="f1")) == ["acme/one/cat 1.0.0", "acme/other/dog 1.0.0"]
    pinned = Options(prefer="f1", pins={PackageId.parse("acme/other/cat"): "1.0.0"})
    assert chosen(shop, *wanted, options=pinned)[0] == "acme/other/cat 1.0.0"


def test_the_lower_bound_of_a_metric_counts_not_its_value() -> None:
    shop = Shop()
    shop.add("acme/lucky/cat", "1.0.0", metrics=measured(0.5))
    shop.add("acme/pets/cat", "1.0.0", metrics=measured(0.8))
    shop.add("acme/zoo/cat", "1.0.0")
    assert chosen(shop, "class:cat") == ["acme/pets/cat 1.0.0"]


def test_among_equals_the_newest_version_of_the_first_name_is_chosen() -> None:
    shop = Shop()
    for name in ("acme/zoo/cat", "acme/pets/cat"):
        for version in ("1.9.0", "1.10.0"):
            shop.add(name, version)
    assert chosen(shop, "class:cat") == ["acme/pets/cat 1.10.0"]


def test_a_class_falls_back_to_a_provider_that_fits() -> None:
    shop = Shop()
    shop.add("acme/big/cat", "1.0.0", input=image(224), metrics=measured(0.99))
    shop.add("acme/small/cat", "1.0.0", metrics=measured(0.5))
    shop.add("acme/zoo/dog", "1.0.0")
    assert chosen(shop, "class:cat", "acme/zoo/dog")[0] == "acme/small/cat 1.0.0"
    apart = chosen(shop, "class:cat", "acme/zoo/dog", options=Options(compatible=False))
    assert apart[0] == "acme/big/cat 1.0.0"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "acme/best/cat"),
        ("[method=moda]", "acme/moda/cat"),
        ("[license=Apache-2.0]", "acme/free/cat"),
        ("[collection=acme/small]", "acme/small/cat"),
        ("[max-size=50kB]", "acme/small/cat"),
        ("[min-f1=0.9,method=gradsplitter]", "acme/best/cat"),
    ],
)
def test_options_narrow_the_providers(options: str, expected: str) -> None:
    shop = Shop()
    shop.add("acme/best/cat", "1.0.0", metrics=measured(0.9), method="gradsplitter")
    shop.add("acme/moda/cat", "1.0.0", metrics=measured(0.8), method="moda")
    shop.add("acme/free/cat", "1.0.0", license="Apache-2.0")
    shop.add("acme/small/cat", "1.0.0", forms=files("standalone", size=40_000))
    assert chosen(shop, f"class:cat{options}") == [f"{expected} 1.0.0"]


# Policy and hard properties


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), "1.4.0"),
        (Policy(min_f1=0.8), "1.3.0"),
        (Policy(licenses=frozenset({"Apache-2.0"})), "1.2.0"),
        (Policy(max_size=50_000), "1.1.0"),
        (Policy(onnxruntime="1.20.0"), "1.0.0"),
    ],
)
def test_a_policy_excludes_releases_whatever_is_asked_for(policy: Policy, expected: str) -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0", runtime=dataclasses.replace(RUNTIME, onnxruntime=">=1.19"))
    shop.add("acme/pets/cat", "1.1.0", forms=files("standalone", size=40_000))
    shop.add("acme/pets/cat", "1.2.0", license="Apache-2.0")
    shop.add("acme/pets/cat", "1.3.0", metrics=measured(0.85))
    shop.add("acme/pets/cat", "1.4.0", metrics=measured(0.75))
    assert chosen(shop, "acme/pets/cat", options=Options(policy=policy)) == [f"acme/pets/cat {expected}"]


def test_a_policy_on_modules_says_nothing_about_bases(pets: Shop) -> None:
    policy = Policy(max_size=50_000)
    assert chosen(pets, "acme/pets/cat", options=Options(policy=policy))[1] == "acme/pets/base 2.0.0"


def test_releases_that_do_not_fit_into_one_model_are_not_chosen_together() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0")
    shop.add("acme/pets/large", "1.0.0", input=image(64))
    shop.add("acme/pets/logits", "1.0.0", semantic="logits")
    shop.add("acme/pets/old", "1.0.0", runtime=dataclasses.replace(RUNTIME, opset={"": 17}))
    shop.add("acme/pets/both", "1.0.0", kind="composite", semantic="scores")
    for other in ("large", "logits", "old"):
        assert is_conflict(shop, "acme/pets/cat", f"acme/pets/{other}")
        assert chosen(shop, "acme/pets/cat", f"acme/pets/{other}", options=Options(compatible=False))
    assert chosen(shop, "acme/pets/cat", "acme/pets/both")


# The call itself


def test_a_path_is_no_question_to_a_catalog() -> None:
    with pytest.raises(UsageError, match=r"\./cat is a path"):
        solve(Shop().catalog(), [parse_requirement("./cat")])


def test_an_unknown_preference_is_refused() -> None:
    with pytest.raises(UsageError, match="expected one of accuracy, size, newest, f1 to prefer, got 'luck'"):
        Options(prefer="luck")


def test_the_order_of_hashes_does_not_show() -> None:
    script = Path(__file__).parents[1] / "support" / "resolve_in_any_order.py"
    answers = {
        subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(script.parents[2])},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(answers) == 1
    assert "acme/pets/base 3.0.0" in answers.pop()
