"""What parts of one model share: each rule refuses two modules, and names both, the property and both values.

The rows are those of the table of compatibility that can be told from an index. Of the others, accuracy and size are in
`test_solve`, integrity is in `tests/security`, and what only the files tell in `tests/composer/test_fit`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pytest

from modhub.resolver.solve import Conflict, Options, Policy, Resolution, solve
from modhub.spec.digests import sha256
from modhub.spec.manifest import Dependency, Metric, Runtime
from modhub.spec.ports import InputPort
from modhub.spec.requirements import parse_requirement
from tests.support.catalogs import RUNTIME, Shop, digest_of, files, image

PORT = image()
TOKENS = InputPort(name="tokens", kind="tokens", dtype="int64", shape=("batch", 128), tokenizer="a" * 64, vocabulary=99)
CAT, DOG = "acme/one/cat", "acme/two/dog"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Two modules that do not fit: what they have of a property, and how that is told."""

    cat: dict[str, Any] = field(default_factory=dict)
    dog: dict[str, Any] = field(default_factory=dict)
    summary: str
    told: tuple[str, str]
    options: Options = field(default_factory=Options)


def port(**changes: Any) -> dict[str, Any]:
    """Return the change of a release whose input differs."""
    return {"input": dataclasses.replace(PORT, **changes)}


def tokens(**changes: Any) -> dict[str, Any]:
    """Return the change of a release that takes tokens."""
    return {"input": dataclasses.replace(TOKENS, **changes)}


def runtime(**changes: Any) -> dict[str, Any]:
    """Return the change of a release that needs another runtime."""
    return {"runtime": dataclasses.replace(RUNTIME, **changes)}


INPUT = "they take different inputs"
RGB = "takes image RGB NCHW [batch, 3, 32, 32] in 0..1"

ROWS = {
    "input: shape": Row(dog=port(shape=("batch", 3, 64, 64)), summary=INPUT, told=(RGB, "[batch, 3, 64, 64]")),
    "input: layout": Row(
        dog=port(layout="NHWC", shape=("batch", 32, 32, 3)), summary=INPUT, told=(RGB, "RGB NHWC [batch, 32, 32, 3]")
    ),
    "input: element type": Row(dog=tokens(), summary=INPUT, told=(RGB, "takes tokens [batch, 128] of 99 tokens")),
    "preprocessing: range": Row(dog=port(range=(0.0, 255.0)), summary=INPUT, told=("in 0..1", "in 0..255")),
    "preprocessing: colour": Row(
        dog=port(color="gray", shape=("batch", 1, 32, 32)), summary=INPUT, told=("RGB", "gray NCHW [batch, 1, 32, 32]")
    ),
    "preprocessing: tokenizer": Row(
        cat=tokens(), dog=tokens(tokenizer="b" * 64), summary=INPUT, told=("aaaaaaaaaaaa", "bbbbbbbbbbbb")
    ),
    "preprocessing: vocabulary": Row(
        cat=tokens(), dog=tokens(vocabulary=50), summary=INPUT, told=("of 99 tokens", "of 50 tokens")
    ),
    "label space": Row(
        dog={"classes": ("cat",)}, summary="both score the class 'cat'", told=("scores cat", "scores cat")
    ),
    "label space: a composite": Row(
        dog={"kind": "composite", "semantic": "scores", "classes": ("dog", "cat")},
        summary="both score the class 'cat'",
        told=("scores cat", "scores cat"),
    ),
    "score semantics": Row(
        dog={"semantic": "logits"},
        summary="their outputs mean different things",
        told=("scores, each class against the rest", "logits of classes against each other"),
    ),
    "calibration": Row(
        dog={"calibrated": False},
        summary="their scores cannot be compared",
        told=("has calibrated scores and is cut from the network", "has no calibrated score, so it goes with modules"),
    ),
    "parent, for a trunk or union": Row(
        summary="they come of different parents",
        told=(sha256(b"acme/one")[:12], sha256(b"acme/two")[:12]),
        options=Options(one_parent=True),
    ),
    "operator set": Row(
        dog=runtime(opset={"": 21}),
        summary="they need different operator sets",
        told=("is written in ai.onnx 20", "is written in ai.onnx 21"),
    ),
    "operator set: a domain": Row(
        dog=runtime(opset={"": 20, "com.example": 1}),
        summary="they need different operator sets",
        told=("ai.onnx 20", "ai.onnx 20, com.example 1"),
    ),
    "runtime": Row(
        dog=runtime(onnxruntime="<1.25"),
        summary="no ONNX Runtime runs both",
        told=("needs onnxruntime>=1.27", "needs onnxruntime<1.25"),
    ),
    "licence": Row(
        cat={"license": "GPL-2.0-only"},
        dog={"license": "CC-BY-SA-4.0 AND MIT"},
        summary="their licences do not go together",
        told=("is licensed GPL-2.0-only", "is licensed CC-BY-SA-4.0 AND MIT"),
    ),
    "licence: of the data": Row(
        cat={"license": "GPL-3.0-only"},
        dog={"licenses": {"data": "CC-BY-NC-4.0"}},
        summary="their licences do not go together",
        told=("is licensed GPL-3.0-only", "is licensed CC-BY-NC-4.0 AND MIT"),
    ),
}


def shop_of(row: Row) -> Shop:
    """Return a shop with the two modules."""
    shop = Shop()
    shop.add(CAT, "1.0.0", **row.cat)
    shop.add(DOG, "1.0.0", **row.dog)
    return shop


def answer_of(shop: Shop, *texts: str, options: Options) -> Resolution | Conflict:
    """Return what the resolver says."""
    return solve(shop.catalog(), [parse_requirement(text) for text in texts], options=options)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_modules_that_do_not_fit_are_told_with_both_values(row: Row) -> None:
    conflict = answer_of(shop_of(row), CAT, DOG, options=row.options)
    assert isinstance(conflict, Conflict)
    head, cat, dog, *rest = str(conflict).splitlines()
    assert head == f"cannot combine {CAT} with {DOG}: {row.summary}"
    assert cat.startswith(f"  {CAT} 1.0.0 ")
    assert row.told[0] in cat
    assert dog.startswith(f"  {DOG} 1.0.0 ")
    assert row.told[1] in dog
    assert rest[0] == "try:"


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_alone_and_both_apart_will_do(row: Row) -> None:
    shop, apart = shop_of(row), dataclasses.replace(row.options, compatible=False)
    assert all(isinstance(answer_of(shop, name, options=row.options), Resolution) for name in (CAT, DOG))
    assert isinstance(answer_of(shop, CAT, DOG, options=apart), Resolution)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_another_release_that_fits_is_taken_instead(row: Row) -> None:
    shop = shop_of(row)
    fitting = {"parent": sha256(b"acme/one"), "provides": ("class:dog",)} | {
        key: row.cat[key] for key in ("input",) if key in row.cat
    }
    shop.add("acme/two/dog", "0.9.0", **fitting)
    answer = answer_of(shop, CAT, DOG, options=row.options)
    assert isinstance(answer, Resolution)
    assert [str(part) for part in answer.parts] == [f"{CAT} 1.0.0", f"{DOG} 0.9.0"]


# What a release may not have at all


@pytest.mark.parametrize(
    ("changes", "policy", "told"),
    [
        (
            {"license": "CC-BY-ND-4.0"},
            Policy(),
            "is licensed CC-BY-ND-4.0, which forbids derived works, and a composed model is one",
        ),
        (runtime(opset={"": 26}), Policy(runtime=RUNTIME), "needs the operator set ai.onnx 26, and the runtime has 20"),
        (runtime(ir_version=13), Policy(runtime=RUNTIME), "needs ONNX IR 13, and the runtime reads 10"),
        (
            runtime(opset={"": 20, "com.microsoft": 1}),
            Policy(runtime=RUNTIME),
            "needs the operators of com.microsoft, which the runtime does not have",
        ),
        (
            {"licenses": {"weights": "LicenseRef-OpenRAIL"}},
            Policy(licenses=frozenset({"permissive"})),
            "is licensed LicenseRef-OpenRAIL AND MIT, which the policy does not allow",
        ),
    ],
)
def test_a_release_that_will_not_do_is_told_with_the_reason(changes: dict[str, Any], policy: Policy, told: str) -> None:
    shop = Shop()
    shop.add(CAT, "1.0.0", **changes)
    conflict = answer_of(shop, CAT, options=Options(policy=policy))
    assert str(conflict).splitlines()[:2] == [f"nothing satisfies {CAT}", f"  {CAT} 1.0.0 {told}"]


def test_licences_are_no_reason_where_the_policy_only_warns() -> None:
    options = Options(policy=Policy(licence_conflicts="warn"))
    assert isinstance(answer_of(shop_of(ROWS["licence"]), CAT, DOG, options=options), Resolution)


def test_a_module_needs_the_base_that_it_was_cut_from() -> None:
    shop = Shop()
    shop.base("acme/pets/base", "1.0.0")
    shop.delta("acme/pets/cat", "1.0.0", base="1.0.0", parent=sha256(b"another network"))
    told = str(answer_of(shop, "acme/pets/cat", options=Options())).splitlines()[1]
    theirs, own = sha256(b"acme/pets/base 1.0.0")[:12], sha256(b"another network")[:12]
    which = f"which is the network {theirs}, and the module was cut from {own}"
    assert told == f"  acme/pets/cat 1.0.0 is built on acme/pets/base 1.0.0, {which}"


BOTH = {**files("standalone", size=9), **files("int8", size=3)}
"""The forms of a module that also comes in eight bits."""


@pytest.mark.parametrize("texts", [("acme/pets/cat[int8]", "acme/pets/dog"), ("class:cat[int8]", "class:dog")])
def test_modules_of_one_parent_have_one_precision(texts: tuple[str, str]) -> None:
    shop = Shop()
    for name in ("cat", "dog"):
        shop.add(f"acme/pets/{name}", "1.0.0", forms=BOTH)
    told = str(answer_of(shop, *texts, options=Options())).splitlines()
    rounded, plain = (str(parse_requirement(text)) for text in texts)
    assert told[:3] == [
        f"cannot combine {rounded} with {plain}: they are cut from one network, and asked for in different precision",
        "  acme/pets/cat 1.0.0 is asked for in int8",
        "  acme/pets/dog 1.0.0 is asked for in float32",
    ]
    assert any(line.strip().startswith(f"{parse_requirement(texts[1] + '[int8]')} instead of {plain}") for line in told)
    both = answer_of(shop, texts[0], f"{texts[1]}[int8]", options=Options())
    assert isinstance(both, Resolution)
    assert set(both.forms().values()) == {"int8"}
    assert isinstance(answer_of(shop, *texts, options=Options(compatible=False)), Resolution)


def test_modules_of_two_parents_may_differ_in_precision() -> None:
    shop = Shop()
    shop.add(CAT, "1.0.0", forms=BOTH)
    shop.add(DOG, "1.0.0")
    answer = answer_of(shop, f"{CAT}[int8]", DOG, options=Options())
    assert isinstance(answer, Resolution)
    assert {str(name): form for name, form in answer.forms().items()} == {CAT: "int8", DOG: "standalone"}


def test_eight_bits_are_measured_by_their_own_numbers_and_taken_only_when_asked_for() -> None:
    shop = Shop()
    metrics = {"f1": Metric(value=0.9, low=0.9, high=0.9), "int8_f1": Metric(value=0.7, low=0.7, high=0.7)}
    shop.add(CAT, "1.0.0", forms=BOTH, metrics=metrics)
    plain = answer_of(shop, "class:cat[min-f1=0.8]", options=Options())
    assert isinstance(plain, Resolution)
    assert set(plain.forms().values()) == {"standalone"}
    told = str(answer_of(shop, "class:cat[int8,min-f1=0.8]", options=Options()))
    assert "has an F1 of 0.7 at worst, below 0.8" in told


def test_uncalibrated_modules_of_one_parent_fit() -> None:
    shop = Shop()
    for name in ("cat", "dog"):
        shop.add(f"acme/pets/{name}", "1.0.0", calibrated=False)
    assert isinstance(answer_of(shop, "acme/pets/cat", "acme/pets/dog", options=Options()), Resolution)


def test_scores_that_will_be_calibrated_can_be_compared() -> None:
    options = Options(calibrating=True)
    assert isinstance(answer_of(shop_of(ROWS["calibration"]), CAT, DOG, options=options), Resolution)


def test_three_modules_of_which_each_two_fit_but_no_runtime_takes_all() -> None:
    shop = Shop()
    for name, versions in {"cat": "!=1.28.0", "dog": ">=1.28.0", "cow": "<1.28.1"}.items():
        shop.add(f"acme/{name}/{name}", "1.0.0", runtime=Runtime(opset={"": 20}, ir_version=10, onnxruntime=versions))
    names = ["acme/cat/cat", "acme/dog/dog", "acme/cow/cow"]
    assert isinstance(answer_of(shop, *names, options=Options()), Conflict)
    assert all(
        isinstance(answer_of(shop, *names[:i], *names[i + 1 :], options=Options()), Resolution) for i in range(3)
    )


def test_a_variant_that_a_provider_lacks_makes_it_none() -> None:
    shop = Shop()
    shop.add(CAT, "1.0.0")
    shop.base("acme/two/base", "1.0.0")
    need = Dependency(package="./base", version="==1.0.0", sha256=digest_of("acme/two/base", "1.0.0"))
    parent = sha256(b"acme/two/base 1.0.0")
    shop.add("acme/two/cat", "1.0.0", forms=files("delta", size=9), dependencies=(need,), parent=parent)
    for variant, name in {"delta": "acme/two/cat", "standalone": CAT}.items():
        answer = answer_of(shop, f"class:cat[variant={variant}]", options=Options())
        assert isinstance(answer, Resolution)
        assert str(answer.parts[0]) == f"{name} 1.0.0"
