"""The torch engine against the conformance cases of the `onnx` package."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from modhub.engines.torch_engine import supported_operators, to_torch
from modhub.errors import ModhubError
from tests.support import operators_page
from tests.support.onnx_cases import EXCEPTIONS, SEVERAL, Case, group_cases, load_cases, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ABSOLUTE_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def cases() -> Mapping[str, list[Case]]:
    """Cases of supported operators: by operator, and those of more than one under ``several``."""
    return group_cases(load_cases(), supported_operators())


@pytest.mark.parametrize("operator", supported_operators())
def test_an_operator_passes_every_case_of_its_own(operator: str, cases: Mapping[str, list[Case]]) -> None:
    assert cases.get(operator), f"onnx ships no case of {operator}"
    assert failures(case for case in cases[operator] if not reason(case)) == {}


def test_graphs_of_several_operators_pass(cases: Mapping[str, list[Case]]) -> None:
    assert len(cases[SEVERAL]) > 300
    assert failures(case for case in cases[SEVERAL] if not reason(case)) == {}


@pytest.mark.parametrize("pattern", EXCEPTIONS)
def test_an_exception_is_still_one(pattern: str, cases: Mapping[str, list[Case]]) -> None:
    excepted = [case for group in cases.values() for case in group if fnmatch(case.name, pattern)]
    assert excepted
    assert set(failures(excepted)) == {case.name for case in excepted}


def failures(cases: Iterable[Case]) -> dict[str, str]:
    """Return what went wrong, by the name of the case."""
    found = {}
    for case in cases:
        try:
            check(case)
        except (AssertionError, ModhubError) as error:
            found[case.name] = str(error)[:200]
    return found


def check(case: Case) -> None:
    net = to_torch(case.network())
    for given, expected in case.pairs:
        used = {name for node in net.nodes for name in node.inputs}
        values = {
            name: torch.tensor(array) for name, array in zip(case.input_names, given, strict=True) if name in used
        }
        results = net.evaluate(values, wanted=case.output_names)
        for name, right in zip(case.output_names, expected, strict=True):
            result = results[name].numpy()
            assert (result.shape, result.dtype) == (right.shape, right.dtype)
            np.testing.assert_allclose(
                result, np.asarray(right, dtype=result.dtype), rtol=case.tolerance, atol=ABSOLUTE_TOLERANCE
            )


def test_the_page_on_operators_says_so(cases: Mapping[str, list[Case]]) -> None:
    assert operators_page.PAGE.read_text(encoding="utf-8") == operators_page.page(cases), (
        "write it anew: python -m tests.support.operators_page"
    )
