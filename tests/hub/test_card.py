from __future__ import annotations

import dataclasses
import re
import string
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modhub.hub.card import quoted, render_card
from modhub.hub.publication import release_of
from modhub.package.markdown import escaped, plain
from modhub.spec.index import Index
from tests.hub.packages import PETS, base_package, module
from tests.strategies import indexes

if TYPE_CHECKING:
    from modhub.package.package import Package

yaml: Any = pytest.importorskip("yaml")

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "a | b | c",
    "`code` **bold** _it_ ~~no~~",
    "see www.evil.example or https://evil.example or me@evil.example",
    "---\nlicense: mit",
    "# heading",
    "&lt;b&gt;",
    "\x1b[31mred",
    "\u202ereversed",
    "$$math$$",
    "\\",
]


def card_of(*packages: Package, summary: str = "") -> str:
    releases = [release_of(package) for package in packages]
    index = dataclasses.replace(Index(), summary=summary).adding(releases, previous="0" * 64)
    return render_card(index, collection=PETS)


def front_matter(card: str) -> dict[str, Any]:
    """Return the front matter as the Hub reads it."""
    _, matter, _ = card.split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(matter)
    return loaded


def test_the_card_of_a_small_collection() -> None:
    base = base_package()
    boot, cat = module("ankle-boot", label="Ankle boot", f1=0.987654), module(base=base)
    card = card_of(base, boot, cat, summary="Pets.")
    assert (
        card
        == f"""\
---
library_name: modhub
license: mit
pipeline_tag: image-classification
tags:
- "modhub"
- "gradsplitter"
- "class:ankle-boot"
- "class:cat"
---

# pets

Pets.

| package | version | kind | classes | method | F1 | bytes | licence |
| --- | --- | --- | --- | --- | ---: | ---: | --- |
| ankle-boot | 1.0.0 | module | Ankle boot | gradsplitter | 0.988 | {size_of(boot)} | MIT |
| base | 1.0.0 | base | cat, dog |  |  | {size_of(base)} | MIT |
| cat | 1.0.0 | module | cat | gradsplitter | 0.900 | {size_of(cat)} | MIT |

Install and compose with [modhub](https://pypi.org/project/modhub/):

```
modhub install acme/pets/ankle-boot acme/pets/cat
modhub compose acme/pets/ankle-boot acme/pets/cat -o model
```
"""
    )


def size_of(package: Package) -> str:
    return f"{package.size:,}"


def test_without_an_owner_the_examples_hold_a_placeholder() -> None:
    index = Index().adding([release_of(module())], previous="0" * 64)
    assert "modhub install OWNER/COLLECTION/cat" in render_card(index)


def test_an_empty_collection_has_a_card() -> None:
    assert front_matter(render_card(Index(), collection=PETS)) == {"library_name": "modhub", "tags": ["modhub"]}


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["MIT"], {"license": "mit"}),
        (["MIT", "Apache-2.0"], {"license": "other", "license_name": "apache-2.0-and-mit"}),
        (["LicenseRef-Odd"], {"license": "other", "license_name": "licenseref-odd"}),
        (["GPL-3.0-only"], {"license": "other", "license_name": "gpl-3.0-only"}),
    ],
)
def test_licences_are_named_as_the_hub_knows_them(licenses: list[str], expected: dict[str, str]) -> None:
    matter = front_matter(card_of(*(module(f"m{place}", license=each) for place, each in enumerate(licenses))))
    assert {key: value for key, value in matter.items() if key.startswith("license")} == expected


def test_yanked_releases_are_left_out_and_deprecated_ones_marked() -> None:
    releases = [release_of(module()), release_of(module(version="2.0.0")), release_of(module("dog"))]
    index = Index().adding(releases, previous="0" * 64)
    index = index.yanking("cat", "2.0.0", reason="wrong", previous="0" * 64)
    index = index.deprecating("dog", "1.0.0", reason="old", previous="0" * 64)
    card = render_card(index, collection=PETS)
    assert "| cat | 1.0.0 |" in card
    assert "2.0.0" not in card
    assert "| dog (deprecated) |" in card


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_summary_stays_text(text: str) -> None:
    card = card_of(module(), summary=text)
    assert front_matter(card) == front_matter(card_of(module()))
    line = card.split("# pets\n\n")[1].splitlines()[0]
    for mark in "<>`|*_[]&$":
        assert all(line[place - 1] == "\\" for place, char in enumerate(line) if char == mark)
    assert "\x1b" not in card
    assert "\u202e" not in card
    assert not re.search(r"(?<!\\)://|www\.", line)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_method_or_class_stays_one_tag_and_one_cell(text: str) -> None:
    card = card_of(module(method=text, label=text))
    assert front_matter(card)["tags"] == ["modhub", plain(text), "class:cat"]
    row = next(line for line in card.splitlines() if line.startswith("| cat"))
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 9


@given(st.text())
@example("\U0001f600 \ud83d \x85 \ufeff \ufffe \uffff")
def test_a_quoted_text_is_read_back_by_yaml(text: str) -> None:
    assert yaml.safe_load(quoted(text)) == plain(text)


@given(st.text(string.printable))
def test_no_mark_is_left_unescaped(text: str) -> None:
    bare = escaped(text).replace("\\\\", "")
    assert not [bare for mark in "`*_[]<>|~&!#$@" if mark in bare.replace(f"\\{mark}", "")]
    assert not re.search(r"(?<!\\):\S", bare)


@given(indexes())
def test_every_index_has_a_card_that_yaml_reads(index: Index) -> None:
    assert front_matter(render_card(index, collection=PETS))["library_name"] == "modhub"
