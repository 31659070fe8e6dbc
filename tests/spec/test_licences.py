"""What licences ask for."""

from __future__ import annotations

import pytest
from packaging.licenses import canonicalize_license_expression

from modhub.spec.licences import LEVELS, TABLE, WHOLES, all_of, permits, terms_of, warnings, wholes

NAMES = [name for names in TABLE.values() for name in names.split()]


@pytest.mark.parametrize("name", NAMES)
def test_every_licence_of_the_table_is_one_and_occurs_once(name: str) -> None:
    assert canonicalize_license_expression(name) == name
    assert NAMES.count(name) == 1


def test_every_strong_copyleft_licence_says_under_what_the_whole_may_go() -> None:
    assert sorted(WHOLES) == sorted(TABLE["strong-copyleft"].split())
    assert all(wholes(name) for name in WHOLES)


@pytest.mark.parametrize(
    ("expression", "level"),
    [
        ("MIT", "permissive"),
        ("MIT AND CC-BY-4.0", "attribution"),
        ("MIT OR GPL-3.0-only", "permissive"),
        ("Apache-2.0 AND (LGPL-2.1-only OR GPL-2.0-only)", "weak-copyleft"),
        ("GPL-3.0-only WITH GCC-exception-3.1", "strong-copyleft"),
        ("MPL-2.0+", "weak-copyleft"),
    ],
)
def test_an_expression_has_the_level_of_what_has_to_be_met(expression: str, level: str) -> None:
    terms = terms_of(expression)
    assert LEVELS[terms.level] == level
    assert [terms.is_within(each) for each in LEVELS] == [position >= LEVELS.index(level) for position in range(4)]


@pytest.mark.parametrize("expression", ["LicenseRef-Odd", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "MIT AND LicenseRef-Odd"])
def test_what_is_unknown_or_marked_is_within_no_level(expression: str) -> None:
    assert not any(terms_of(expression).is_within(level) for level in LEVELS)


def test_a_choice_falls_on_what_asks_for_less_and_is_known() -> None:
    assert terms_of("LicenseRef-Odd OR GPL-3.0-only") == terms_of("GPL-3.0-only")
    assert terms_of("CC-BY-NC-4.0 OR GPL-3.0-only") == terms_of("GPL-3.0-only")
    assert terms_of("LicenseRef-Odd AND MIT").unknown == {"LicenseRef-Odd"}


@pytest.mark.parametrize(
    ("one", "other", "fit"),
    [
        ("GPL-2.0-only", "GPL-3.0-only", False),
        ("GPL-2.0-or-later", "GPL-3.0-only", True),
        ("GPL-3.0-only", "AGPL-3.0-only", True),
        ("CC-BY-SA-4.0", "GPL-3.0-only", True),
        ("CC-BY-SA-4.0", "GPL-2.0-only", False),
        ("CC-BY-SA-4.0", "ODbL-1.0", False),
        ("CC-BY-SA-4.0 OR MIT", "ODbL-1.0", True),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", True),
        ("CC-BY-NC-4.0", "GPL-3.0-only", False),
        ("MIT", "GPL-2.0-only", True),
        ("MPL-2.0", "EUPL-1.2", True),
    ],
)
def test_two_licences_fit_when_some_whole_may_hold_both(one: str, other: str, *, fit: bool) -> None:
    assert (wholes(f"({one}) AND ({other})") != frozenset()) is fit


@pytest.mark.parametrize(
    ("expression", "allowed", "answer"),
    [
        ("MIT", {"MIT"}, True),
        ("MIT", {"Apache-2.0"}, False),
        ("MIT OR GPL-3.0-only", {"MIT"}, True),
        ("MIT AND GPL-3.0-only", {"MIT"}, False),
        ("MIT AND Apache-2.0", {"MIT", "Apache-2.0"}, True),
        ("MIT AND (Apache-2.0 OR GPL-3.0-only)", {"MIT", "Apache-2.0"}, True),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", {"MIT"}, False),
        # AND binds closer than OR.
        ("MIT OR GPL-3.0-only AND Apache-2.0", {"MIT"}, True),
        ("GPL-3.0-only AND Apache-2.0 OR MIT", {"MIT"}, True),
        # An exception makes another licence of it.
        ("GPL-3.0-only WITH GCC-exception-3.1", {"GPL-3.0-only"}, False),
        ("GPL-3.0-only WITH GCC-exception-3.1", {"GPL-3.0-only WITH GCC-exception-3.1"}, True),
        ("LicenseRef-Odd", {"LicenseRef-Odd"}, True),
        # A level allows what asks for no more.
        ("MIT AND BSD-3-Clause", {"permissive"}, True),
        ("CC-BY-4.0", {"permissive"}, False),
        ("CC-BY-4.0 AND MIT", {"attribution"}, True),
        ("CC-BY-NC-4.0", {"strong-copyleft"}, False),
        ("CC-BY-NC-4.0 AND MIT", {"permissive", "CC-BY-NC-4.0"}, True),
        ("LicenseRef-Odd", {"strong-copyleft"}, False),
    ],
)
def test_a_licence_is_permitted_when_it_can_be_met(expression: str, allowed: set[str], *, answer: bool) -> None:
    assert permits(expression, allowed=frozenset(allowed)) is answer


def test_the_licence_of_several_is_all_of_theirs() -> None:
    assert all_of(["MIT"]) == "MIT"
    assert all_of(["MIT OR Apache-2.0"]) == "MIT OR Apache-2.0"
    assert all_of(["MIT", "MIT OR Apache-2.0", "MIT"]) == "MIT AND (MIT OR Apache-2.0)"


def test_what_a_user_should_know_is_told_by_name() -> None:
    licences = {"cat": "MIT", "dog": "CC-BY-NC-4.0", "cow": "GPL-3.0-only", "eel": "LicenseRef-Odd"}
    assert warnings(licences) == (
        "dog is licensed CC-BY-NC-4.0: commercial use is forbidden, of the whole too",
        "cow is licensed GPL-3.0-only: whoever shares the whole shares it under that licence",
        "eel is licensed LicenseRef-Odd: nothing is known of LicenseRef-Odd",
    )
