"""Metrics against their definitions, and calibration against what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modhub.metrics import (
    accuracy,
    detection,
    expected_calibration_error,
    fit_platt,
    proportion,
    sigmoid,
    wilson_interval,
)


@given(st.integers(0, 500), st.integers(0, 500))
def test_an_interval_holds_the_proportion_and_stays_between_0_and_1(hits: int, misses: int) -> None:
    low, high = wilson_interval(hits, hits + misses)
    assert 0 <= low <= high <= 1
    if hits + misses:
        assert low <= hits / (hits + misses) <= high


def test_an_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263.
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_more_samples_make_a_narrower_interval() -> None:
    widths = [high - low for low, high in (wilson_interval(n // 2, n) for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)


def test_nothing_counted_is_nothing_known() -> None:
    metric = proportion(0, 0, split=None)
    assert (metric.value, metric.low, metric.high, metric.n) == (0.0, 0.0, 1.0, 0)


def test_accuracy_looks_at_the_highest_score() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    metric = accuracy(scores, np.array([1, 0, 0, 0]), split="test")
    assert (metric.value, metric.n, metric.split) == (0.75, 4, "test")


def test_detection_counts_by_the_sign_of_the_score() -> None:
    score = np.array([2.0, 1.0, -1.0, 3.0, -2.0, -3.0])
    found = detection(score, np.array([True, True, True, False, False, False]), split=None)
    assert found["precision"].value == pytest.approx(2 / 3)
    assert found["recall"].value == pytest.approx(2 / 3)
    assert found["f1"].value == pytest.approx(2 / 3)
    assert found["balanced_accuracy"].value == pytest.approx(2 / 3)


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=50))
def test_detection_never_leaves_its_range(samples: list[tuple[float, bool]]) -> None:
    score, is_class = np.array([s for s, _ in samples]), np.array([c for _, c in samples])
    for metric in detection(score, is_class, split=None).values():
        assert 0 <= metric.value <= 1
        assert metric.low is None or metric.low <= metric.value
        assert metric.high is None or metric.high >= metric.value


def test_a_detector_that_finds_nothing_has_an_f1_of_zero() -> None:
    assert detection(np.array([-1.0, -1.0]), np.array([True, False]), split=None)["f1"].value == 0


def test_extreme_scores_have_probabilities_too() -> None:
    with np.errstate(all="raise"):
        np.testing.assert_allclose(sigmoid(np.array([-1e6, 0.0, 1e6])), [0, 0.5, 1], atol=1e-12)


def test_calibration_error_is_the_gap_between_what_is_said_and_what_is() -> None:
    certain = np.full(100, 50.0)
    assert expected_calibration_error(certain, np.ones(100, np.bool_)) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(certain, np.zeros(100, np.bool_)) == pytest.approx(1)
    assert expected_calibration_error(np.zeros(100), np.arange(100) % 2 == 0) == pytest.approx(0)


def test_platt_recovers_the_scale_and_offset_that_made_the_labels() -> None:
    random = np.random.default_rng(0)
    score = random.standard_normal(20_000) * 3
    is_class = random.random(20_000) < sigmoid(0.5 * score - 1)
    fitted = fit_platt(score, is_class, data="here")
    assert fitted.scale == pytest.approx(0.5, abs=0.02)
    assert fitted.offset == pytest.approx(-1, abs=0.05)
    assert fitted.ece is not None
    assert fitted.ece < 0.01
    assert (fitted.method, fitted.data) == ("platt", "here")


def test_platt_never_turns_a_detector_round() -> None:
    score = np.linspace(-1, 1, 100)
    assert fit_platt(score, score < 0, data="here").scale > 0


@pytest.mark.parametrize("is_class", [np.ones(10, np.bool_), np.zeros(10, np.bool_)])
def test_platt_survives_one_class_alone_and_equal_scores(is_class: np.ndarray) -> None:
    for score in (np.zeros(10), np.linspace(-1, 1, 10)):
        fitted = fit_platt(score, is_class, data="here")
        assert np.isfinite([fitted.scale, fitted.offset]).all()


def test_platt_survives_classes_that_are_far_apart() -> None:
    score = np.concatenate([np.full(50, -1000.0), np.full(50, 1000.0)])
    fitted = fit_platt(score, score > 0, data="here")
    assert np.isfinite([fitted.scale, fitted.offset]).all()
    assert ((fitted.scale * score + fitted.offset > 0) == (score > 0)).all()
