"""What tests measure on the way: shown at the end of the run, and kept as properties of the report.

``pytest tests --junitxml report.xml`` keeps them in a file, from which `scripts/fault_figures.py` makes a page.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

# Read at import, because no test sees the settings of the person who runs it.
STRESS = bool(os.environ.get("MODHUB_STRESS"))
PREFIX = "row "


class Figures:
    """Notes the figures of one test under the name of a row of the test matrix, such as ``A1``."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def tell(self, row: str, case: str, **numbers: object) -> None:
        """Note what was counted or measured in a case of a row."""
        told = ", ".join(f"{name.replace('_', ' ')} {_shown(number)}" for name, number in numbers.items())
        self._record(f"{PREFIX}{row}", f"{case}: {told}")


def _shown(number: object) -> str:
    if isinstance(number, float):
        return f"{number:.3g}"
    return f"{number:,}" if isinstance(number, int) else str(number)


def size(usual: int, stress: int) -> int:
    """Return how often something is done: always, or with MODHUB_STRESS."""
    return stress if STRESS else usual


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures of all tests, those that ran in other processes too."""
    found = {
        (name.removeprefix(PREFIX), str(text))
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name.startswith(PREFIX)
    }
    if not found:
        return
    terminalreporter.section("figures of the test matrix")
    for row, text in sorted(found, key=lambda each: (each[0][0], int(each[0][1:]), each[1])):
        terminalreporter.write_line(f"{row:4}{text}")
