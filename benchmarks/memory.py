"""What a process holds of the machine's memory; Linux alone tells."""

from __future__ import annotations

from pathlib import Path

PROCESSES = Path("/proc")
NOW, MOST = "VmRSS", "VmHWM"
"""What is held, and the most that was; `getrusage` would count what the process that started this one held."""


def is_told() -> bool:
    """Tell whether this machine says what its processes hold."""
    return (PROCESSES / "self" / "status").is_file()


def held_kib(entry: str = NOW, *, process: int | str = "self") -> int:
    """Return the KiB that a process holds, or the most that it held.

    Raises:
        ValueError: the process has ended.
    """
    lines = (PROCESSES / str(process) / "status").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{entry}:"))
    return int(line.split()[1])


def forget_peak() -> None:
    """Let the most that this process held be what it holds now: imports hold more for a moment than they leave."""
    (PROCESSES / "self" / "clear_refs").write_text("5", encoding="utf-8")
