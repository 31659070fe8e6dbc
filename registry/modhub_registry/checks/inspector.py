"""Looking into packages without trusting them: in a process of its own, within limits of memory and time.

The process and its limits are those of the command line, `modhub.package.worker`: both refuse the same packages.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING, TypedDict

from modhub.fsops import LocalFile
from modhub.package.worker import Allowance, Worker
from modhub_registry.errors import InvalidCollection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from modhub.package.worker import Look
    from modhub_registry.storage.blobs import Blobs

PATIENCE_S = 120.0
"""For all packages of one commit. The largest base that was tried, of 400 MB, takes some ten seconds."""

COMMITS_PER_PROCESS = 200
"""After so many commits the process is replaced, so that what it holds does not grow for ever."""


class Job(TypedDict):
    """A package to look into: how problems call it, its files and its base's, by name, as digests."""

    subject: str
    files: dict[str, str]
    base: dict[str, str]


class Inspector:
    """The process that looks, started when it is first needed and again after a package has ended it."""

    def __init__(self, blobs: Blobs, *, patience_s: float = PATIENCE_S) -> None:
        self._blobs, self._patience_s = blobs, patience_s
        self._worker: Worker | None = None
        self._done = 0
        self._lock = Lock()

    def problems_of(self, jobs: Sequence[Job]) -> list[str]:
        """Return what is wrong with some packages.

        Raises:
            InvalidCollection: looking took too long.
            StorageError: the system starts no process.
        """
        if not jobs:
            return []
        with ExitStack() as opened, self._lock:
            files = {
                sha256: _local(opened.enter_context(self._blobs.as_file(sha256)), sha256)
                for sha256 in {sha256 for job in jobs for sha256 in (*job["files"].values(), *job["base"].values())}
            }
            looking = _Looking(self._running(), files, deadline=time.monotonic() + self._patience_s)
            try:
                return [problem for job in jobs for problem in looking.problems_of(job)]
            except TimeoutError:
                self._stop()
                problem = f"the packages cannot be checked within {self._patience_s:.0f} s"
                raise InvalidCollection(problem) from None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _running(self) -> Worker:
        if self._worker is None or self._worker.is_dead or self._done >= COMMITS_PER_PROCESS:
            self._stop()
            self._worker = Worker(Allowance(patience_s=self._patience_s))
        self._done += 1
        self._worker.forget()
        return self._worker

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        self._done = 0
        if worker is not None:
            worker.close()


class _Looking:
    """One commit: a base that several of its packages need is looked into once."""

    def __init__(self, worker: Worker, files: Mapping[str, LocalFile], *, deadline: float) -> None:
        self._worker, self._files, self._deadline = worker, files, deadline
        self._bases: dict[str, Look] = {}

    def problems_of(self, job: Job) -> Iterator[str]:
        """Yield what is wrong with a package, or with its base.

        Raises:
            TimeoutError: there is no time left.
        """
        base = self._base(job["base"])
        if base is not None and base.problems:
            yield f"{job['subject']}: its base is not valid"
            return
        found = self._look(job["files"], subject=job["subject"], base=base.number if base else None)
        for problem in found.problems:
            yield str(problem.in_file(f"{job['subject']}/{problem.file}" if problem.file else job["subject"]))

    def _base(self, files: Mapping[str, str]) -> Look | None:
        if not files:
            return None
        key = json.dumps(files, sort_keys=True)
        if key not in self._bases:
            self._bases[key] = self._look(files, subject="base", base=None)
        return self._bases[key]

    def _look(self, files: Mapping[str, str], *, subject: str, base: int | None) -> Look:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        contents = {name: self._files[sha256] for name, sha256 in files.items()}
        found = self._worker.look_into(contents, base=base, subject=subject, patience_s=left)
        if self._worker.is_dead and time.monotonic() >= self._deadline:
            raise TimeoutError
        return found


def _local(path: Path, sha256: str) -> LocalFile:
    return LocalFile(path=path, size=path.stat().st_size, sha256=sha256)
