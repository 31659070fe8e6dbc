"""Digests and file records."""

from __future__ import annotations

import pytest
from hypothesis import given

from modhub.errors import FormatError
from modhub.spec.digests import FileRecord, is_sha256, sha256
from tests import strategies

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing_is_the_published_one() -> None:
    assert sha256(b"") == EMPTY
    assert is_sha256(EMPTY)


@pytest.mark.parametrize("text", ["", EMPTY.upper(), EMPTY[:-1], EMPTY + "\n", "g" * 64])
def test_a_digest_has_one_form(text: str) -> None:
    assert not is_sha256(text)


@given(strategies.files)
def test_a_record_survives_the_round_trip(record: FileRecord) -> None:
    assert FileRecord.from_dict(record.to_dict()) == record


def test_a_record_of_bytes_holds_their_size_and_digest() -> None:
    assert FileRecord.of("a.bin", data=b"") == FileRecord(path="a.bin", size=0, sha256=EMPTY)


def test_a_record_keeps_keys_that_it_does_not_know() -> None:
    document = {"path": "a", "size": 1, "sha256": EMPTY, "mode": "fast"}
    assert FileRecord.from_dict(document).to_dict() == document


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"path": "../a"}, "path: the file name '../a' is not"),
        ({"path": None}, "path: is missing"),
        ({"size": -1}, "size: expected a non-negative integer, got -1"),
        ({"size": 2**41}, "size: expected at most"),
        ({"size": "1"}, "size: expected a non-negative integer, got '1'"),
        ({"sha256": "ab"}, "sha256: expected 64 lower-case hexadecimal digits, got 'ab'"),
    ],
)
def test_a_bad_record_names_the_field(change: dict[str, object], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        FileRecord.from_dict({"path": "a", "size": 1, "sha256": EMPTY} | change)
