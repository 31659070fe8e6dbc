"""Tells everything that a Python process runs, opens, starts or connects to.

A copy called `sitecustomize.py` on PYTHONPATH is run before anything else, by a command and by each Python process that
the command starts. Events go, as lines of JSON, into the pipe `events` beside that copy: a process that may write no
file can write there. The interpreter itself reports them, so nothing that runs in Python gets past.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

KINDS = (
    "code.__new__", "compile", "cpython.run", "ctypes.", "exec", "ftplib.", "function.__new__", "http.client.",
    "imaplib.", "import", "marshal.", "mmap.", "nntplib.", "open", "os.", "pickle.", "poplib.", "pty.", "shutil.",
    "smtplib.", "socket.", "sqlite3.", "subprocess.", "telnetlib.", "tempfile.", "urllib.", "webbrowser.", "winreg.",
)  # fmt: skip
"""Beginnings of the names of events that are told; the others concern the interpreter itself."""

SILENT = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.putenv", "os.unsetenv", "os.getxattr", "os.listxattr")
"""They change nothing outside the process and read no contents."""

LINE_BYTES = 3_500
"""Shorter than what a pipe takes in one piece, so that the lines of several processes do not mix."""


def watch(pipe: Path) -> None:
    """Tell all events from now on; they cannot be switched off again."""
    descriptor = os.open(pipe, os.O_WRONLY)

    def tell(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(KINDS) and event not in SILENT:
            line = json.dumps([event, *_caller(), [plain(value) for value in arguments[:3]]])
            os.write(descriptor, line.encode()[:LINE_BYTES] + b"\n")

    sys.addaudithook(tell)


def _caller() -> tuple[str, str]:
    """Return file and name of the function that did it."""
    frame = sys._getframe(1).f_back
    return (frame.f_code.co_filename, frame.f_code.co_name) if frame else ("", "")


def plain(value: Any) -> Any:
    """Return an argument of an event as JSON can say it, long ones cut."""
    if hasattr(value, "co_filename"):
        return value.co_filename
    if isinstance(value, int | None):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value[:6]]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value)[:300]


if __name__ == "sitecustomize":
    watch(Path(__file__).with_name("events"))
