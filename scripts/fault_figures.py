"""Write the figures of the test matrix as a table: ``python scripts/fault_figures.py REPORT.xml > docs/faults.md``.

The report comes from ``pytest tests --junitxml REPORT.xml``; what its tests noted is all that goes in.
"""

from __future__ import annotations

import sys
from xml.etree import ElementTree as ET

# Which tests note a row's figures is said in tests/faults/README.md.
ROWS = {
    "A1": "killed at every call that changes a file",
    "A2": "refused at every one of them",
    "A3": "killed at random times",
    "A4": "the order in which bytes reach the disk",
    "A5": "a server killed during commits",
    "A6": "a full disk",
    "A7": "a disk that cannot be written",
    "A8": "a lock that everybody gets",
    "A9": "clocks that are off",
    "A10": "a damaged store",
    "B4": "a history of many clients",
    "C1": "the hostile corpus",
    "C2": "one verdict on names, versions and references",
    "C3": "damaged copies of a package",
    "C4": "parsers",
    "C5": "our verdict against the libraries'",
    "D1": "downloads that are cut",
    "D2": "servers that lie",
    "D3": "bytes that change on the way",
    "D4": "slow clients",
    "D5": "uploads that lie",
    "E1": "lying indexes",
    "E6": "signatures",
    "F1": "guessing tokens",
    "F2": "scopes",
    "F3": "where tokens are told",
    "F4": "links for uploads",
    "F5": "hostile addresses",
    "M1": "memory",
}
HEAD = """# Faults, as measured

What `tests/faults` and its neighbours counted: points killed, releases acknowledged, lost and half there,
samples refused, bytes sent again. `pytest` shows the same figures at its end; `tests/faults/README.md` says which
test is behind each row, `docs/security.md` against what. With `MODHUB_STRESS=1` the same tests run with larger numbers.

Made by `pytest tests --junitxml report.xml`, then `python scripts/fault_figures.py report.xml`.

| row | what | case | figures |
|---|---|---|---|"""


def figures(report: str) -> list[tuple[str, str]]:
    """Return row and text of every figure in a report, in the order of the rows."""
    found = {
        (str(each.get("name")).removeprefix("row "), str(each.get("value")))
        for each in ET.parse(report).iter("property")  # noqa: S314  Written by our own tests.
        if str(each.get("name")).startswith("row ")
    }
    return sorted(found, key=lambda each: (each[0][0], int(each[0][1:]), each[1]))


def main(report: str) -> None:
    """Print the page."""
    print(HEAD)
    last = ""
    for row, text in figures(report):
        case, _, numbers = text.partition(": ")
        what = ROWS.get(row, "") if row != last else ""
        print(f"| {row if row != last else ''} | {what} | {case} | {numbers} |")
        last = row


if __name__ == "__main__":
    main(sys.argv[1])
