"""Looking into packages without trusting them: in a process of its own, within limits of memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, suppress
from threading import Lock, Timer
from typing import TYPE_CHECKING, TypedDict

from modhub_registry.errors import InvalidCollection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub_registry.storage.blobs import Blobs

PATIENCE_S = 120.0
"""For all packages of one commit. The largest base that was tried, of 400 MB, takes some ten seconds."""

JOBS_PER_PROCESS = 200
"""After so many commits the process is replaced, so that what it holds does not grow for ever."""


class Job(TypedDict):
    """A package to look into: how problems call it, its files and its base's, by name, as digests."""

    subject: str
    files: dict[str, str]
    base: dict[str, str]


class Inspector:
    """The process that looks, started when it is first needed and again after it was killed."""

    def __init__(self, blobs: Blobs, *, patience_s: float = PATIENCE_S) -> None:
        self._blobs, self._patience_s = blobs, patience_s
        self._process: subprocess.Popen[str] | None = None
        self._done = 0
        self._lock = Lock()

    def problems_of(self, jobs: Sequence[Job]) -> list[str]:
        """Return what is wrong with some packages.

        Raises:
            InvalidCollection: looking took too long, or too much memory.
        """
        if not jobs:
            return []
        with ExitStack() as files:
            paths: dict[str, str] = {}
            for sha256 in {sha256 for job in jobs for sha256 in (*job["files"].values(), *job["base"].values())}:
                paths[sha256] = str(files.enter_context(self._blobs.as_file(sha256)))
            line = json.dumps([_with_paths(job, paths) for job in jobs])
            with self._lock:
                return self._ask(line)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _ask(self, line: str) -> list[str]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise AssertionError("the process was started with pipes")
        timer = Timer(self._patience_s, process.kill)
        timer.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        self._done += 1
        if not answer:
            self._stop()
            raise InvalidCollection(f"the packages cannot be checked within {self._patience_s:.0f} s and the memory")
        problems: list[str] = json.loads(answer)
        return problems

    def _running(self) -> subprocess.Popen[str]:
        if self._done >= JOBS_PER_PROCESS or (self._process is not None and self._process.poll() is not None):
            self._stop()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "modhub_registry.checks.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            self._done = 0
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()


def _with_paths(job: Job, paths: dict[str, str]) -> Job:
    files = {name: paths[sha256] for name, sha256 in job["files"].items()}
    base = {name: paths[sha256] for name, sha256 in job["base"].items()}
    return {"subject": job["subject"], "files": files, "base": base}
