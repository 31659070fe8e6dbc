"""The process that looks into packages of strangers: `python -m modhub_registry.checks.worker`.

It reads one job a line, as JSON, and answers one line: the list of problems. It runs under limits on memory, and
whoever started it kills it when it takes too long, so that a hostile file costs this process and no more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.errors import FormatError, InvalidPackage
from modhub.package.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.package.package import Package

MEMORY_BYTES = 8 << 30


def main() -> None:
    """Answer jobs until there are no more."""
    _limit_memory()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)  # noqa: T201  It is how the answer travels.


def _answer(jobs: list[dict[str, Any]]) -> list[str]:
    """Return the problems of all packages of a job; a base that several of them need is verified once."""
    bases: dict[str, Package] = {}
    problems: list[str] = []
    for job in jobs:
        try:
            verify(_read(job["files"]), base=_base(job["base"], bases), subject=job["subject"])
        except InvalidPackage as error:
            problems += [str(problem.in_file(f"{job['subject']}/{problem.file}")) for problem in error.problems]
        except (FormatError, OSError, MemoryError, RecursionError) as error:
            problems.append(f"{job['subject']}: {str(error) or type(error).__name__}")
    return problems


def _base(files: Mapping[str, str], bases: dict[str, Package]) -> Package | None:
    if not files:
        return None
    key = json.dumps(files, sort_keys=True)
    if key not in bases:
        bases[key] = verify(_read(files), subject="base")
    return bases[key]


def _read(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: Path(path).read_bytes() for name, path in files.items()}


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
