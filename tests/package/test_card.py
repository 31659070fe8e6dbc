"""The card of a release: complete, the same every time, and deaf to what strangers write into a manifest."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given

from modhub.package.card import render_card
from modhub.package.markdown import escaped
from modhub.package.pack import seal
from modhub.spec.manifest import Manifest, Method, Metric
from tests import strategies
from tests.support.samples import composite, packages

HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) ![](http://evil) `a` | b | https://evil www.evil"


def test_every_package_has_its_card() -> None:
    for package in (*packages(), composite()):
        card = package.read("README.md").decode()
        assert package.manifest.card is not None
        assert card == render_card(package.manifest)
        assert card.startswith(f"# {package.name} {package.version}\n")
        assert package.manifest.license in card


def test_a_module_says_how_to_use_and_cite_it() -> None:
    manifest = dataclasses.replace(
        packages()[1].manifest,
        method=Method(name="gradsplitter", version="1", paper="arXiv:2311.04438", seed=0),
        metrics={"f1": Metric(value=0.91, low=0.9, high=0.92, split="test", n=10_000)},
    )
    card = render_card(manifest)
    for line in (
        "| kind | class module: scores one class |",
        (
            "| calibration | platt on test, expected calibration error 0.01; "
            "sigmoid(score) estimates the probability of the class |"
        ),
        "| method | gradsplitter 1, seed 0 |",
        "| f1 | 0.9 to 0.92 | test | 10,000 | 0.91 |",
        "modhub install OWNER/COLLECTION/cat==1.0.0",
        "modhub compose OWNER/COLLECTION/cat OWNER/COLLECTION/ANOTHER -o model",
        "The method, gradsplitter, is that of [arXiv:2311.04438](https://arxiv.org/abs/2311.04438).",
    ):
        assert f"\n{line}\n" in card


def test_a_score_without_calibration_is_called_no_probability() -> None:
    manifest = packages()[1].manifest
    plain = dataclasses.replace(manifest, output=dataclasses.replace(manifest.output, calibration=None))
    assert "| calibration | none: the score is no probability |" in render_card(plain)


def test_a_base_is_not_to_be_installed() -> None:
    assert "modhub install" not in packages()[0].read("README.md").decode()


@pytest.mark.parametrize("field", ["summary", "homepage", "authors", "method", "paper"])
def test_what_a_stranger_wrote_is_shown_and_never_obeyed(field: str) -> None:
    manifest = packages()[1].manifest
    if field == "authors":
        changed = dataclasses.replace(manifest, authors=(HOSTILE,))
    elif field in ("method", "paper"):
        words = {"name": "m", "version": "1", "paper": "p", {"method": "name"}.get(field, field): HOSTILE}
        changed = dataclasses.replace(manifest, method=Method(**words))  # type: ignore[arg-type]
    else:
        changed = dataclasses.replace(manifest, **{field: HOSTILE})  # type: ignore[arg-type]
    card = render_card(changed)
    assert r"\<script\>alert(1)\</script\> \[x\](javascript\:alert(1)) \!\[\](http\://evil) \`a\` \| b \|" in card
    assert r"https\://evil www\.evil" in card
    assert not re.search(r"(?<!\\)<", card)


@given(strategies.manifests)
def test_equal_manifests_have_equal_cards_whatever_they_hold(manifest: Manifest) -> None:
    card = render_card(manifest)
    assert card == render_card(Manifest.from_json(manifest.to_json()))
    assert "\n\n\n" not in card
    assert card.endswith("\n")


def test_the_record_of_a_card_does_not_change_it() -> None:
    package = packages()[1]
    files = {name: data for name, data in package.contents().items() if name not in ("README.md", "module.json")}
    assert seal(package.manifest, files).files == package.files


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("- a list", r"\- a list"),
        ("1. a list", r"1\. a list"),
        ("1.5 is a number", "1.5 is a number"),
        ("kind: module", "kind: module"),
        ("a_b*c", r"a\_b\*c"),
        ("two\nlines\x1b[31m", r"two lines \[31m"),
    ],
)
def test_text_is_escaped_only_where_it_would_mean_something(text: str, shown: str) -> None:
    assert escaped(text) == shown
