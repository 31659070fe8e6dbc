"""Conflicts, word for word."""

from __future__ import annotations

import dataclasses
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from modhub.resolver.phrases import Fact, Phrase, listed
from modhub.resolver.solve import Conflict, Options, Policy, solve
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.manifest import Dependency
from modhub.spec.requirements import parse_requirement
from tests.support.catalogs import RUNTIME, Shop, digest_of, image, measured

if TYPE_CHECKING:
    from collections.abc import Sequence


def told(shop: Shop, *texts: str, options: Options | None = None) -> str:
    """Return the conflict between requirements in sentences."""
    answer = solve(shop.catalog(), [parse_requirement(text) for text in texts], options=options)
    assert isinstance(answer, Conflict)
    return str(answer)


def sentences(text: str) -> str:
    """Return an indented text of this file as it should be told."""
    return dedent(text).strip()


@pytest.fixture
def shop() -> Shop:
    """Return collections with one of every kind of trouble."""
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0", "2.0.0")
    for version, base in (("1.0.0", "1.0.0"), ("1.2.0", "1.0.0"), ("1.3.0", "1.0.0"), ("2.0.0", "2.0.0")):
        shop.delta("acme/pets/cat", version, base=base)
    for version, base in (("1.0.0", "1.0.0"), ("2.0.0", "2.0.0"), ("2.1.0", "2.0.0")):
        shop.delta("acme/pets/dog", version, base=base)
    shop.add("acme/zoo/dog", "1.0.0", input=image(224))
    return shop


def test_modules_of_different_bases(shop: Shop) -> None:
    assert told(shop, "acme/pets/cat>=1.2,<2", "acme/pets/dog>=2") == sentences("""
        cannot combine acme/pets/cat>=1.2,<2 with acme/pets/dog>=2: they need different versions of acme/pets/base
          acme/pets/cat 1.2.0 and 1.3.0 are built on acme/pets/base 1.0.0
          acme/pets/dog 2.0.0 and 2.1.0 are built on acme/pets/base 2.0.0
        try:
          acme/pets/cat==2.0.0 instead of acme/pets/cat>=1.2,<2
          acme/pets/dog==1.0.0 instead of acme/pets/dog>=2
    """)


def test_modules_of_different_inputs(shop: Shop) -> None:
    assert told(shop, "acme/pets/cat==2.0.0", "acme/zoo/dog") == sentences("""
        cannot combine acme/pets/cat==2.0.0 with acme/zoo/dog: they take different inputs
          acme/pets/cat 2.0.0 takes image RGB NCHW [batch, 3, 32, 32] in 0..1
          acme/zoo/dog 1.0.0 takes image RGB NCHW [batch, 3, 224, 224] in 0..1
        try:
          class:dog instead of acme/zoo/dog (acme/pets/dog 2.1.0)
          --apart, where they need not fit into one model
    """)


def test_a_scoring_module_and_one_whose_logits_need_rivals(shop: Shop) -> None:
    shop.add("acme/odd/eel", "1.0.0", semantic="logits", provides=())
    assert told(shop, "acme/odd/eel", "acme/pets/cat==2.0.0") == sentences("""
        cannot combine acme/odd/eel with acme/pets/cat==2.0.0: their outputs mean different things
          acme/odd/eel 1.0.0 returns logits of classes against each other
          acme/pets/cat 2.0.0 returns scores, each class against the rest
        try:
          leaving out acme/odd/eel
          leaving out acme/pets/cat==2.0.0
          --apart, where they need not fit into one model
    """)


def test_a_class_that_would_fall_on_the_other_module_is_no_advice(shop: Shop) -> None:
    shop.add("acme/odd/cat", "1.0.0", semantic="logits")
    assert told(shop, "acme/odd/cat", "acme/pets/cat==2.0.0").splitlines()[3:] == [
        "try:",
        "  leaving out acme/odd/cat",
        "  leaving out acme/pets/cat==2.0.0",
        "  --apart, where they need not fit into one model",
    ]


def test_modules_in_different_operator_sets(shop: Shop) -> None:
    shop.add(
        "acme/odd/eel", "1.0.0", runtime=dataclasses.replace(RUNTIME, opset={"": 17, "ai.onnx.ml": 3}), provides=()
    )
    assert told(shop, "acme/odd/eel", "acme/pets/cat==2.0.0").splitlines()[:3] == [
        "cannot combine acme/odd/eel with acme/pets/cat==2.0.0: they need different operator sets",
        "  acme/odd/eel 1.0.0 is written in ai.onnx 17, ai.onnx.ml 3",
        "  acme/pets/cat 2.0.0 is written in ai.onnx 20",
    ]


def test_classes_without_providers_that_fit(shop: Shop) -> None:
    shop.add("acme/zoo/cow", "1.0.0", input=image(224))
    assert told(shop, "class:cow", "class:dog[collection=acme/pets]") == sentences("""
        cannot combine class:cow with class:dog[collection=acme/pets]: they take different inputs
          acme/pets/dog 1.0.0, 2.0.0 and 2.1.0 take image RGB NCHW [batch, 3, 32, 32] in 0..1
          acme/zoo/cow 1.0.0 takes image RGB NCHW [batch, 3, 224, 224] in 0..1
        try:
          class:dog instead of class:dog[collection=acme/pets] (acme/zoo/dog 1.0.0)
          --apart, where they need not fit into one model
    """)


def test_three_requirements_of_which_any_two_fit() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0", "2.0.0", "3.0.0")
    for name, bases in {"cat": (1, 2), "dog": (2, 3), "cow": (1, 3)}.items():
        for base in bases:
            shop.delta(f"acme/pets/{name}", f"{base}.0.0", base=f"{base}.0.0")
    head, *lines = told(shop, "acme/pets/cat", "acme/pets/dog", "acme/pets/cow").splitlines()
    assert head.startswith("cannot combine acme/pets/cat with acme/pets/dog and acme/pets/cow: they need different")
    assert lines == [
        "  acme/pets/cat 1.0.0 is built on acme/pets/base 1.0.0",
        "  acme/pets/cat 2.0.0 is built on acme/pets/base 2.0.0",
        "  acme/pets/dog 2.0.0 is built on acme/pets/base 2.0.0",
        "  acme/pets/dog 3.0.0 is built on acme/pets/base 3.0.0",
        "  acme/pets/cow 1.0.0 is built on acme/pets/base 1.0.0",
        "  acme/pets/cow 3.0.0 is built on acme/pets/base 3.0.0",
        "try:",
        "  leaving out acme/pets/cat",
        "  leaving out acme/pets/dog",
        "  leaving out acme/pets/cow",
    ]


def test_requirements_on_one_package(shop: Shop) -> None:
    assert told(shop, "acme/pets/cat>=2", "acme/pets/cat<2") == sentences("""
        cannot combine acme/pets/cat>=2 with acme/pets/cat<2
          acme/pets/cat>=2 allows 2.0.0
          acme/pets/cat<2 allows 1.0.0, 1.2.0 and 1.3.0
        try:
          acme/pets/cat==1.3.0 instead of acme/pets/cat>=2
          acme/pets/cat==2.0.0 instead of acme/pets/cat<2
    """)


def test_a_module_and_a_base_asked_for_by_name(shop: Shop) -> None:
    options = Options(compatible=False)
    assert told(shop, "acme/pets/base>=2", "acme/pets/cat<1.2", options=options) == sentences("""
        cannot combine acme/pets/base>=2 with acme/pets/cat<1.2
          acme/pets/base>=2 allows 2.0.0
          acme/pets/cat 1.0.0 is built on acme/pets/base 1.0.0
        try:
          acme/pets/base==1.0.0 instead of acme/pets/base>=2
          acme/pets/cat==2.0.0 instead of acme/pets/cat<1.2
    """)


def test_the_two_that_conflict_are_found_among_many(shop: Shop) -> None:
    names = [f"acme/pets/m{number}" for number in range(20)]
    for name in names:
        for base in ("1.0.0", "2.0.0"):
            shop.delta(name, base, base=base)
    lines = told(shop, *names, "acme/pets/cat<2", *reversed(names), "acme/pets/dog>=2").splitlines()
    assert lines[0].startswith("cannot combine acme/pets/cat<2 with acme/pets/dog>=2: ")
    assert len(lines) == 6


def test_a_package_that_is_not_there(shop: Shop) -> None:
    assert told(shop, "acme/pets/cat", "acme/pets/eel") == sentences("""
        nothing satisfies acme/pets/eel
          there is no package acme/pets/eel
        try:
          leaving out acme/pets/eel
    """)


def test_a_class_that_nothing_provides(shop: Shop) -> None:
    assert told(shop, "class:eel") == "nothing satisfies class:eel\n  nothing provides class:eel"


def test_a_version_that_is_not_there(shop: Shop) -> None:
    assert told(shop, "acme/pets/cat>=3") == sentences("""
        nothing satisfies acme/pets/cat>=3
          acme/pets/cat 1.0.0, 1.2.0, 1.3.0 and 2.0.0 are outside >=3
        try:
          acme/pets/cat==2.0.0 instead of acme/pets/cat>=3
    """)


def test_versions_that_are_yanked_or_too_early() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "0.9.0", yanked="scores dogs")
    shop.add("acme/pets/cat", "0.9.1", yanked="")
    shop.add("acme/pets/cat", "1.0.0rc1")
    assert told(shop, "acme/pets/cat") == sentences("""
        nothing satisfies acme/pets/cat
          acme/pets/cat 0.9.0 is yanked (scores dogs)
          acme/pets/cat 0.9.1 is yanked
          acme/pets/cat 1.0.0rc1 is a pre-release, which nobody asked for
        try:
          acme/pets/cat==1.0.0rc1 instead of acme/pets/cat
    """)


def test_a_digest_and_a_form_that_no_release_has(shop: Shop) -> None:
    shop.add("acme/pets/eel", "1.0.0")
    has = f"  acme/pets/eel 1.0.0 has the digest {digest_of('acme/pets/eel', '1.0.0')}"
    assert has in told(shop, f"acme/pets/eel@sha256:{sha256(b'other')}").splitlines()
    assert "  acme/pets/eel 1.0.0 comes as standalone only" in told(shop, "acme/pets/eel[delta]").splitlines()


def test_bases_that_cannot_be_had() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0")
    shop.base("acme/pets/base", "1.1.0", manifest=FileRecord(path="module.json", size=1, sha256=sha256(b"other")))
    shop.base("acme/pets/base", "1.2.0", yanked="leaks")
    for number in (1, 2, 3):
        shop.delta("acme/pets/cat", f"1.{number}.0", base=f"1.{number}.0")
    shop.delta("acme/zoo/cat", "1.0.0", base="1.0.0")
    assert told(shop, "acme/pets/cat") == sentences("""
        nothing satisfies acme/pets/cat
          acme/pets/cat 1.1.0 is built on acme/pets/base 1.1.0, which has another digest
          acme/pets/cat 1.2.0 is built on acme/pets/base 1.2.0, which is yanked (leaks)
          acme/pets/cat 1.3.0 is built on acme/pets/base 1.3.0, which is not there
    """)
    assert told(shop, "acme/zoo/cat") == sentences("""
        nothing satisfies acme/zoo/cat
          acme/zoo/cat 1.0.0 needs acme/zoo/base 1.0.0, which is not there
    """)


def test_a_need_in_another_collection(shop: Shop) -> None:
    need = Dependency(package="acme/pets/dog", version=">=2", sha256=digest_of("acme/pets/dog", "2.0.0"))
    shop.delta("acme/zoo/cat", "1.0.0", base="1.0.0", dependencies=(need,))
    assert told(shop, "acme/zoo/cat", "acme/pets/dog<2").splitlines()[:3] == [
        "cannot combine acme/zoo/cat with acme/pets/dog<2",
        "  acme/pets/dog<2 allows 1.0.0",
        "  acme/zoo/cat 1.0.0 needs acme/pets/dog>=2",
    ]


def test_a_policy_that_stands_in_the_way() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0", license="GPL-3.0-only")
    shop.add("acme/pets/cat", "1.1.0", metrics=measured(0.7))
    shop.add("acme/pets/cat", "1.2.0")
    shop.add("acme/zoo/cat", "1.0.0", runtime=dataclasses.replace(RUNTIME, onnxruntime=">=1.40,<2"))
    policy = Policy(licenses=frozenset({"MIT"}), min_f1=0.8, onnxruntime="1.31.1")
    assert told(shop, "class:cat", options=Options(policy=policy)) == sentences("""
        nothing satisfies class:cat
          acme/pets/cat 1.0.0 is licensed GPL-3.0-only, which the policy does not allow
          acme/pets/cat 1.1.0 has an F1 of 0.7 at worst, below 0.8
          acme/pets/cat 1.2.0 has no measured F1, and 0.8 is asked for
          acme/zoo/cat 1.0.0 needs onnxruntime>=1.40,<2, and 1.31.1 is to run it
        try:
          a min-f1 below 0.8 (acme/pets/cat 1.1.0)
    """)


def test_options_that_no_provider_meets() -> None:
    shop = Shop()
    shop.add("acme/pets/cat", "1.0.0", method="gradsplitter")
    shop.add("acme/zoo/cat", "1.0.0")
    assert told(shop, "class:cat[collection=acme/zoo,method=moda]") == sentences("""
        nothing satisfies class:cat[collection=acme/zoo,method=moda]
          acme/pets/cat 1.0.0 is outside acme/zoo
          acme/zoo/cat 1.0.0 is made by an unnamed method, not moda
        try:
          class:cat instead of class:cat[collection=acme/zoo,method=moda] (acme/pets/cat 1.0.0)
    """)
    assert "  acme/pets/cat 1.0.0 is licensed MIT, not BSD-2-Clause" in told(shop, "class:cat[license=BSD-2-Clause]")
    assert "  acme/pets/cat 1.0.0 takes 101000 bytes, more than 50000" in told(shop, "class:cat[max-size=50kB]")


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [
        ((), "x is here"),
        (("1",), "x 1 is here"),
        (("1", "2"), "x 1 and 2 are here"),
        (("1", "2", "3", "4"), "x 1, 2, 3 and 4 are here"),
        (("1", "2", "3", "4", "5"), "x 1 to 5 (5 releases) are here"),
    ],
)
def test_a_fact_is_a_sentence(versions: Sequence[str], sentence: str) -> None:
    assert str(Fact(subject="x", versions=tuple(versions), phrase=Phrase("is", "here"))) == sentence


def test_a_list_is_joined_as_in_a_sentence() -> None:
    assert [listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
