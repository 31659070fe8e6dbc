"""The torch engine against the conformance cases of the `onnx` package."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from modhub.engines.torch_engine import supported_operators, to_torch
from modhub.errors import ModhubError
from tests.support.onnx_cases import Case, load_cases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SEVERAL = "several"
ABSOLUTE_TOLERANCE = 1e-5

EXCEPTIONS = {
    "test_*batchnorm_*_training_mode": "it trains: the engine computes what a network answers",
    "test_training_dropout*": "it trains: the engine computes what a network answers",
    "test_dropout_default_mask*": "it wants the mask of what dropout drops",
    "test_maxpool_with_argmax_*": "it wants the positions of the maxima",
    "test_reduce_max_empty_set*": "the maximum of nothing: torch has none",
    "test_reduce_min_empty_set": "the minimum of nothing: torch has none",
    "test_resize_*_antialias": "resizing that smooths first is refused",
    "test_resize_tf_crop_and_resize*": "resizing a region is refused",
    "test_resize_*_not_larger": "resizing that works out its own target size is refused",
    "test_resize_*_not_smaller": "resizing that works out its own target size is refused",
    "test_resize_downsample_scales_*_align_corners": "wants fractions as lengths; ONNX Runtime takes whole ones too",
    "test_spacetodepth_crd_mode_example": "the mode came with opset 28",
    "test_attention_4d_causal_fp16_expanded": "half precision, rounded at other places",
    "test_PReLU_*_multiparam": "before opset 7 a slope belonged to a channel, which the version converter overlooks",
}
"""Cases of supported operators that the engine need not pass, and why."""


@pytest.fixture(scope="module")
def cases() -> Mapping[str, list[Case]]:
    """Cases of supported operators: by operator, and those of more than one under ``several``."""
    grouped: dict[str, list[Case]] = {}
    for case in load_cases():
        if case.operators <= set(supported_operators()):
            key = min(case.operators) if len(case.operators) == 1 else SEVERAL
            grouped.setdefault(key, []).append(case)
    return grouped


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


def reason(case: Case) -> str | None:
    return next((why for pattern, why in EXCEPTIONS.items() if fnmatch(case.name, pattern)), None)


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
