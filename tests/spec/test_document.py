"""Strict JSON and the readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.document import (
    Fields,
    check_format,
    flag,
    format_json,
    integer,
    list_of,
    number,
    parse_json,
    table_of,
    text,
)
from tests import strategies

if TYPE_CHECKING:
    from modhub.spec.document import JSON

REFUSED = {
    "two equal keys": (b'{"a": 1, "a": 1}', "the key 'a' occurs twice"),
    "not a number": (b'{"a": NaN}', "expected finite numbers"),
    "infinity": (b"[-Infinity]", "expected finite numbers"),
    "a float that overflows": (b"[1e400]", "expected finite numbers"),
    "an integer beyond 2**53": (b"[9007199254740993]", "expected finite numbers"),
    "an integer of 5,000 digits": (b"9" * 5000, "expected finite numbers"),
    "100,000 brackets": (b"[" * 100_000, "nested deeper than 32"),
    "33 levels": (b"[" * 33 + b"]" * 33, "nested deeper than 32"),
    "a lone surrogate": (b'["\\ud800"]', "lone surrogate"),
    "a surrogate as a key": (b'{"\\udfff": 1}', "lone surrogate"),
    "a byte-order mark": (b"\xef\xbb\xbf{}", "not JSON"),
    "another encoding": ('{"a": "é"}'.encode("latin-1"), "expected UTF-8, got byte 0xe9 at offset 7"),
    "nothing": (b"", "not JSON"),
    "two values": (b"{} {}", "not JSON"),
    "too many bytes": (b" " * 1001, "expected at most 1000 bytes, got 1001"),
}


@pytest.mark.parametrize(("data", "problem"), REFUSED.values(), ids=REFUSED)
def test_json_that_readers_understand_differently_is_refused(data: bytes, problem: str) -> None:
    limit = 1000 if b" " * 1000 in data else 1 << 20
    with pytest.raises(FormatError, match=problem.replace("*", r"\*")):
        parse_json(data, limit=limit)


def test_json_of_the_deepest_allowed_nesting_is_read() -> None:
    depth = limits.DOCUMENT_DEPTH
    assert parse_json(b"[" * depth + b"]" * depth, limit=100)


@given(strategies.extras)
def test_reading_undoes_writing(document: dict[str, JSON]) -> None:
    data = format_json(document)
    assert parse_json(data, limit=len(data)) == document
    assert format_json(Fields(parse_json(data, limit=len(data))).rest()) == data


def test_writing_sorts_keys_and_keeps_letters_of_every_language() -> None:
    assert format_json({"b": "猫", "a": [1, 2.0]}) == '{\n  "a": [\n    1,\n    2.0\n  ],\n  "b": "猫"\n}\n'.encode()


def test_a_problem_names_its_path() -> None:
    read = table_of(list_of(table_of(integer)))
    with pytest.raises(FormatError) as caught:
        read({"forms": [{}, {"size": True}]})
    assert str(caught.value) == "forms[1].size: expected an integer, got true"


def test_a_hostile_key_is_quoted_and_cut_in_the_path() -> None:
    with pytest.raises(FormatError) as caught:
        table_of(integer)({"\x1b[31m" + "x" * 200: None})
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", ["a\nb", "\x1b[31mred", "\u202eabc", "\x00", "\x85", "x" * 5000, 3, None, ["a"]])
def test_a_text_is_one_plain_line(value: object) -> None:
    with pytest.raises(FormatError):
        text(value)


def test_true_is_no_number_and_one_is_no_flag() -> None:
    for read, value in ((integer, True), (number, False), (flag, 1), (number, float("inf")), (integer, 1.0)):
        with pytest.raises(FormatError):
            read(value)


def test_fields_tell_missing_keys_from_unknown_ones() -> None:
    fields = Fields({"a": 1, "b": None, "c": 2})
    assert fields.required("a", integer) == 1
    assert fields.optional("b", integer, 7) == 7
    assert fields.rest() == {"c": 2}
    with pytest.raises(FormatError, match="d: is missing"):
        fields.required("d", integer)
    with pytest.raises(FormatError, match="expected an object, got a list"):
        Fields([])


@pytest.mark.parametrize(
    "found", ["modhub/manifest@2", "modhub/index@1", "modhub/manifest@1.", "modhub/manifest@1.x", ""]
)
def test_another_format_or_major_version_is_refused_by_name(found: str) -> None:
    with pytest.raises(FormatError, match="format: expected modhub/manifest@1, got"):
        check_format(found, expected="modhub/manifest@1")


def test_a_minor_version_is_read() -> None:
    check_format("modhub/manifest@1.3", expected="modhub/manifest@1")
