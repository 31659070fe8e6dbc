"""One line on a terminal while work takes longer than a second; nothing where nobody looks."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from modhub.cli.output import byte_size
from modhub.cli.terminal import console_of, is_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from modhub.hub.transfer import Progress, Transfer

PATIENCE_S = 1.0
"""Seconds of work that nobody needs to be told about; rich is not even loaded for them."""
REFRESH_HZ = 5
BAR, COLOUR = 24, "cyan"


class Line:
    """The line: what is done, for how long, how far it is, and what else there is to say of it.

    Args:
        title: what is done.
        is_seen: whether there is a terminal that shows it.
    """

    def __init__(self, title: str, *, is_seen: bool = False) -> None:
        self.is_seen = is_seen
        self.since = time.monotonic()
        self.ended = threading.Event()
        self.begin(title)

    def begin(self, title: str) -> None:
        """Note that another piece of the work has begun."""
        self.title, self.share, self.note = title, None, ""

    title: str
    share: float | None
    note: str

    def tell(self, transfer: Transfer) -> None:
        """Note how far a transfer is."""
        if transfer.total:
            seconds = max(time.monotonic() - self.since, 1e-3)
            self.share = min(1.0, transfer.done / transfer.total)
            self.note = (
                f"{byte_size(transfer.done)} of {byte_size(transfer.total)}, "
                f"{byte_size(round(transfer.done / seconds))}/s"
            )

    def text(self) -> str:
        """Return the line as it is now, but for the bar."""
        seconds = f"{time.monotonic() - self.since:.0f} s"
        return "  ".join(part for part in (self.title, seconds, self.note) if part)

    def view(self) -> RenderableType:
        """Return the line as it is now, to be drawn."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, overflow="ellipsis")
        text = Text(self.text())
        if self.share is None:
            grid.add_row(text)
        else:
            grid.add_column(width=BAR)
            grid.add_row(
                text,
                ProgressBar(total=1.0, completed=self.share, width=BAR, complete_style=COLOUR, finished_style=COLOUR),
            )
        return grid

    def show(self) -> None:
        """Draw the line again and again until the work ends; from a thread of its own."""
        if self.ended.wait(PATIENCE_S):
            return
        from rich.live import Live

        console = console_of(sys.stderr)
        if console is None:
            return
        # What others say on standard error meanwhile goes above the line; standard output is left alone.
        with Live(
            console=console,
            get_renderable=self.view,
            refresh_per_second=REFRESH_HZ,
            transient=True,
            redirect_stdout=False,
        ):
            self.ended.wait()


@contextmanager
def working(title: str) -> Iterator[Line]:
    """Show that work goes on while the block runs; yields the line, to say how far it is.

    Inside another such block the line is the same, which says the new title from then on.
    """
    context = click.get_current_context(silent=True)
    state = None if context is None else context.find_root().obj
    state = {} if state is None else state
    outer: Line | None = state.get("line")
    if outer is not None:
        outer.begin(title)
        yield outer
        return
    is_seen = sys.stderr.isatty() and not is_plain() and not state.get("quiet")
    line = state["line"] = Line(title, is_seen=is_seen)
    thread = threading.Thread(target=line.show, daemon=True) if is_seen else None
    try:
        if thread is not None:
            thread.start()
        yield line
    finally:
        del state["line"]
        line.ended.set()
        if thread is not None:
            thread.join()


@contextmanager
def waiting(title: str) -> Iterator[Progress]:
    """Show that work goes on while the block runs; yields what to tell of transfers."""
    with working(title) as line:
        yield line.tell
