"""Row S7: how long light commands take to start, in a process of their own."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import numpy as np

START = "from modhub.cli import main; main()"
COMMANDS = {"--help": ["--help"], "search": ["search", "cat"], "resolve": ["resolve", "modhub/resnet20-cifar10/cat"]}


def measure(*, full: bool) -> dict[str, Any]:
    """Return median CPU seconds per command, and of Python alone."""
    repeats = 9 if full else 3
    bare = median_seconds([sys.executable, "-c", "pass"], repeats)
    rows = [
        {"command": name, "seconds_cpu": median_seconds([sys.executable, "-c", START, *words], repeats)}
        for name, words in COMMANDS.items()
    ]
    return {"python alone": bare, "rows": rows}


def median_seconds(command: list[str], repeats: int) -> float:
    """Return the median CPU seconds of a command's process."""
    times = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=False, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(float(np.median(times)), 3)
