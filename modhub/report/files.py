"""The files that a report is written as."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import MissingExtra
from modhub.report.pictures import need_plot
from modhub.report.subject import REPORT_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.datasets import Dataset
    from modhub.report.document import Report

PAGE_FILE = "report.html"


def report_json(report: Report) -> dict[str, bytes]:
    """Return the bytes of `report.json` by its name."""
    return {REPORT_FILE: (json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n").encode()}


def write_page(report: Report, folder: Path, *, data: Dataset | None) -> str:
    """Write `report.html` into a folder; returns why it was left out, empty where it was not.

    Args:
        report: what to tell.
        folder: the collection's.
        data: the validation data, to show samples of.

    Raises:
        StorageError: the page is there already, or cannot be written.
    """
    try:
        need_plot(PAGE_FILE)
    except MissingExtra as error:
        return str(error)
    from modhub.report.pages import decomposition_page

    fsops.write_new(folder.absolute() / PAGE_FILE, decomposition_page(report, data).encode())
    return ""
