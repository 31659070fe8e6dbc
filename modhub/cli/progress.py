"""One line on a terminal while work takes longer than a second; nothing where nobody looks."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from modhub.cli.output import byte_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.hub.transfer import Progress, Transfer

PATIENCE_S = 1.0
REFRESH_S = 0.2
BAR = 24


class Line:
    """The line: what is done, for how long, and how far transfers are."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.since = time.monotonic()
        self.transfer: Transfer | None = None
        self.ended = threading.Event()

    def tell(self, transfer: Transfer) -> None:
        """Note how far a transfer is."""
        self.transfer = transfer

    def show(self) -> None:
        """Write the line again and again until the work ends; from a thread of its own."""
        if self.ended.wait(PATIENCE_S):
            return
        while not self.ended.wait(REFRESH_S):
            sys.stderr.write(f"\r\x1b[K{self.text()}")
            sys.stderr.flush()
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    def text(self) -> str:
        """Return the line as it is now."""
        seconds = time.monotonic() - self.since
        transfer = self.transfer
        if transfer is None or not transfer.total:
            return f"{self.title} {seconds:.0f} s"
        share = min(1.0, transfer.done / transfer.total)
        bar = "#" * round(BAR * share)
        amount = f"{byte_size(transfer.done)} of {byte_size(transfer.total)}"
        return f"{self.title} [{bar:<{BAR}}] {amount}, {byte_size(round(transfer.done / seconds))}/s"


@contextmanager
def waiting(title: str) -> Iterator[Progress]:
    """Show that work goes on while the block runs; yields what to tell of transfers."""
    line = Line(title)
    context = click.get_current_context(silent=True)
    quiet = context is not None and (context.find_root().obj or {}).get("quiet")
    thread = threading.Thread(target=line.show, daemon=True) if sys.stderr.isatty() and not quiet else None
    try:
        if thread is not None:
            thread.start()
        yield line.tell
    finally:
        line.ended.set()
        if thread is not None:
            thread.join()
