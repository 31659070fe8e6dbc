"""Numbers as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.network.sites import Site
    from modhub.spec.manifest import Metric


FIRM_SPACE = "\u00a0"
"""Between a number and its unit, so that no line ends there."""


def percent(value: float) -> str:
    r"""Return a share as a percentage with one decimal.

    >>> percent(0.9175)
    '91.8\xa0%'
    """
    return f"{100 * value:.1f}{FIRM_SPACE}%"


def interval(metric: Metric) -> str:
    """Return a metric's interval in per cent, a hyphen where it has none."""
    if metric.low is None or metric.high is None:
        return "-"
    return f"{100 * metric.low:.1f} to {100 * metric.high:.1f}"


def byte_size(count: int) -> str:
    """Return a number of bytes in the unit that people read.

    >>> byte_size(1_234_567)
    '1.2 MB'
    """
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def shown_count(number: int, noun: str) -> str:
    """Return a number of things.

    >>> shown_count(1, "sample"), shown_count(2000, "sample")
    ('1 sample', '2,000 samples')
    """
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def pinned_list(reasons: Mapping[str, tuple[Site, ...]]) -> list[tuple[str, str]]:
    """Return each reason with the sites it pins, by name and number of channels."""
    return [
        (reason, ", ".join(f"{site.id} ({shown_count(site.size, 'channel')})" for site in sites))
        for reason, sites in reasons.items()
    ]
