"""What metrics are called on the pages, and how their values are said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.report.words import FIRM_SPACE, interval, percent, shown_count

if TYPE_CHECKING:
    from modhub.spec.index import Release

SHARES = ("f1", "precision", "recall", "kernels_kept", "weights_kept")
"""Metrics that are shares, shown per cent, in the order of the tables."""

TITLES = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "kernels_kept": "kernels kept",
    "weights_kept": "weights kept",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macs": "computations kept",
}
COUNTS = {"macs": "computations", "parameters": "parameters"}
"""Metrics that are counts in some packages, and what they are called there."""

METRICS = tuple(TITLES)


def is_share(name: str, value: float) -> bool:
    """Tell whether a metric is a share of the parent's, or of the samples."""
    return name in TITLES and 0 <= value <= 1


def metric_words(release: Release, name: str) -> str:
    """Return a release's metric in words, with its interval; a hyphen where there is none."""
    metric = release.metrics.get(name)
    if metric is None:
        return "-"
    if not is_share(name, metric.value):
        return large(metric.value)
    bounds = f" ({interval(metric)})" if metric.low is not None and metric.high is not None else ""
    return percent(metric.value) + bounds


def metric_rows(release: Release) -> list[tuple[str, str, str, str]]:
    """Return each metric as people read it: its title, value, interval, and what it was measured on."""
    known = [name for name in TITLES if name in release.metrics]
    others = sorted(name for name in release.metrics if name not in known)
    rows = []
    for name in (*known, *others):
        metric = release.metrics[name]
        share = is_share(name, metric.value)
        value = percent(metric.value) if share else large(metric.value)
        bounds = f"{interval(metric)} %".replace("- %", "") if share else ""
        on = [shown_count(metric.n, "sample") if metric.split and metric.n else "", metric.split or ""]
        title = TITLES.get(name, name) if share else COUNTS.get(name, name)
        rows.append((title, value, bounds, ", ".join(filter(None, on))))
    return rows


def large(value: float) -> str:
    r"""Return a count, or another number that is no share, as people read it.

    >>> large(40813184.0), large(1234.0), large(0.25)
    ('40.8\xa0million', '1,234', '0.25')
    """
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if size <= abs(value) < size * 1e3:
            return f"{value / size:.1f}{FIRM_SPACE}{word}"
    return f"{value:,.6g}"
