"""Versions and specifiers."""

from __future__ import annotations

import pytest
from hypothesis import given
from packaging.version import Version

from modhub.errors import InvalidVersion
from modhub.spec.versions import parse_specifier, parse_version
from tests import strategies


@given(strategies.versions)
def test_a_version_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_version(text)) == text


@pytest.mark.parametrize(
    "text",
    ["1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0.post1", "1.0.0.dev1", "1!1.0.0", "1.0.0+local", "01.0.0", "1.0.0-rc1"],
)
def test_a_version_that_is_not_both_pep_440_and_semver_is_refused(text: str) -> None:
    with pytest.raises(InvalidVersion, match=r"expected a version like 1\.2\.3 or 1\.2\.3rc1"):
        parse_version(text)


@pytest.mark.parametrize("text", ["", " 1.0.0", "1.0.0\n", "\uff11.0.0", "1_0.0.0", "9" * 5000 + ".0.0"])
def test_texts_that_int_would_take_are_no_versions(text: str) -> None:
    with pytest.raises(InvalidVersion):
        parse_version(text)


@pytest.mark.parametrize(
    ("sugar", "meaning"),
    [
        ("^1.2", ">=1.2,<2"),
        ("^1", ">=1,<2"),
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.3", ">=0.3,<0.4"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0", ">=0,<1"),
        ("^0.0", ">=0.0,<0.1"),
        ("^1.2.0rc1", ">=1.2.0rc1,<2"),
        ("^1.2, !=1.4.0", ">=1.2,<2,!=1.4.0"),
    ],
)
def test_a_caret_allows_what_must_not_break(sugar: str, meaning: str) -> None:
    assert parse_specifier(sugar) == parse_specifier(meaning)


def test_the_empty_specifier_allows_any_version() -> None:
    assert parse_specifier(" ").contains(Version("0.0.1"))


@pytest.mark.parametrize(
    "text", ["1.2", "=1.2", ">=", "===1.0", "~=1", "^", "^1.2.3.4", ">=1,", "^x", "<2;", ">=1" + " " * 300]
)
def test_a_malformed_specifier_is_refused(text: str) -> None:
    with pytest.raises(InvalidVersion):
        parse_specifier(text)
