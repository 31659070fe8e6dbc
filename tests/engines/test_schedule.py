from __future__ import annotations

import pytest

from modhub.engines.schedule import schedule
from modhub.errors import UsageError
from modhub.network.network import Node


def node(inputs: str, outputs: str) -> Node:
    return Node(op="Any", inputs=tuple(inputs), outputs=tuple(outputs))


DIAMOND = (node("xw", "a"), node("a", "b"), node("aw", "c"), node("bc", "d"), node("d", "ef"))
"""x -> a -> (b, c) -> d -> (e, f), with the array w."""


def indices(given: str, wanted: str) -> list[int]:
    return [step.index for step in schedule(DIAMOND, arrays="w", given=given, wanted=wanted)]


def test_everything_runs_for_the_last_value() -> None:
    assert indices("x", "f") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("x", "c", [0, 2]),
        ("a", "d", [1, 2, 3]),
        ("bc", "e", [3, 4]),
        ("x", "bc", [0, 1, 2]),
        ("d", "d", []),
        ("x", "w", []),
    ],
)
def test_only_what_is_needed_runs(given: str, wanted: str, expected: list[int]) -> None:
    assert indices(given, wanted) == expected


def test_a_value_is_dropped_by_the_step_that_reads_it_last() -> None:
    steps = schedule(DIAMOND, arrays="w", given="x", wanted="e")
    assert [step.spent for step in steps] == [("x",), (), ("a",), ("b", "c"), ("d", "f")]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="'d' cannot be computed from 'b': 'x' is missing"):
        indices("b", "d")
