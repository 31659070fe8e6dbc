"""What is said about a decomposition while it works."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from modhub.cli.output import percent, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.cli.progress import Line

TELL_EVERY_S = 60.0
"""Seconds between two lines about training in a log, where no terminal shows a line that changes."""


class Teller:
    """Tells about the steps of the work; of training, in the line of a terminal, or now and then in a log.

    Args:
        line: the line at the bottom of the terminal.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._told = time.monotonic()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Tell about a step, unless it is one of many and the last word is fresh."""
        if event["step"] != "training":
            tell(event)
            return
        self._line.note = short(event)
        if not self._line.is_seen and time.monotonic() - self._told >= TELL_EVERY_S:
            self._told = time.monotonic()
            tell({**event, "step": "at work"})


def short(event: Mapping[str, Any]) -> str:
    """Return a step of training in a few words."""
    parts = [f"{key} {event[key]}" for key in ("rung", "epoch", "generation") if key in event]
    parts += [f"keeps {percent(event['kept'])}"] if "kept" in event else []
    parts += [f"loss {event['loss']:.3g}"] if "loss" in event else []
    parts += [f"about {duration(event['left_s'])} left"] if event.get("left_s") else []
    return ", ".join(parts)


def tell(event: Mapping[str, Any]) -> None:
    """Tell about a step of the work, but not about those of training."""
    step = event["step"]
    if step == "training":
        return
    if step == "trunk":
        place = f"the trunk ends at {event['cut']}" if event["cut"] else "there is no trunk"
        if "weights" in event:
            what = f"{event['weights']} weights"
        else:
            sites = "1 site" if event["sites"] == 1 else f"{event['sites']} sites"
            what = f"{event['kernels']} kernels in {sites}"
        say(f"   {place}; masks act on {what}")
    elif "kept" in event:
        parts = [f"keeps {percent(event['kept'])} of the {event.get('unit', 'kernels')} behind the trunk"]
        parts += [f"loss {event['loss']:.4g}"] if "loss" in event else []
        parts += ["brought to the parent's statistics"] if event.get("repaired") else []
        parts += [f"composed accuracy {percent(event['accuracy'])} on validation data"] if "accuracy" in event else []
        parts += [f"about {duration(event['left_s'])} left"] if event.get("left_s") else []
        say(f"   {step:<8} {', '.join(parts)}")
    elif step == "parent":
        say(f"   the parent's accuracy on validation data is {percent(event['accuracy'])}")
    else:
        say("   " + ", ".join(f"{key} {value}" for key, value in event.items()))


def duration(seconds: float) -> str:
    """Return a time in the unit that people read."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
