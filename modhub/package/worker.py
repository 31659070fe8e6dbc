"""Packages of strangers are looked into by a process of its own, within limits: ``python -m modhub.package.worker``.

    with Worker() as worker:
        package = worker.verify(files, subject="acme/pets/cat")

The command line and the registry look by it alike. Small files go through a pipe; of large ones it gets the paths, and
maps those of arrays, so that nobody holds them.
The readers refuse what they know to be hostile. Should one be wrong about a file, or a library below it, that file
costs this process, and the error says whose it was. One process serves a whole command. It knows no token, may write no
file, and each package gets so much memory and processor time and no more, where the system can limit them: Linux
limits both, macOS time alone, Windows neither; there only the patience of whoever waits ends it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, Self

from modhub.errors import FormatError, InvalidPackage, ModhubError, StorageError
from modhub.fsops import LARGE_BYTES, LocalFile, MappedFile, bytes_of
from modhub.package.package import ARRAYS_SUFFIX, MANIFEST_FILE, Package
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from modhub.fsops import Content

ANSWER_BYTES = 1 << 20
"""An answer: at most a hundred problems, each a few hundred characters long."""

ENVIRONMENT = (
    "APPDATA", "DYLD_LIBRARY_PATH", "HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE",
    "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE", "VIRTUAL_ENV",
)  # fmt: skip
"""What the process is told of its surroundings: where Python and its libraries are, and no secret."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads take address space each, hundreds of megabytes on a machine with many cores."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What looking into one package may cost.

    Args:
        memory_bytes: address space, whatever the package's size. The whole corpus of hostile files takes 3 GiB with the
            libraries, of which nothing is ever written to.
        memory_factor: address space for each byte of the package and its base: the files, the arrays made of them, a
            materialised copy, and what libraries take meanwhile. Mapped files count too.
        cpu_s: seconds of processor time. A base of 400 MB takes about ten.
        patience_s: seconds until nobody waits any longer, on a busy machine too.
    """

    memory_bytes: int = 4 << 30
    memory_factor: int = 10
    cpu_s: int = 60
    patience_s: float = 300.0


class Verifier(Protocol):
    """`modhub.package.verify.verify`, here or in a process of its own."""

    def __call__(
        self, files: Mapping[str, Content], *, base: Package | None = None, form: str | None = None, subject: str = ...
    ) -> Package:
        """Return the package that some files form, or raise `InvalidPackage`."""
        ...


class Look(NamedTuple):
    """What was found in a package: by which number it is known as a base, and all problems."""

    number: int
    problems: Sequence[FormatError]


class Worker:
    """The process that looks into packages, started when it is first needed; `close` ends it.

    Once a package has made it die it stays dead: a registry of bombs costs one of them.
    """

    def __init__(self, allowance: Allowance | None = None) -> None:
        self._allowance = allowance or Allowance()
        self._process: subprocess.Popen[bytes] | None = None
        self._bases: dict[Package, int] = {}
        self._jobs = 0
        self._forgetting = False
        self._end = ""

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()

    def start(self) -> None:
        """Start the process before it is needed, so that it is ready when it is.

        Raises:
            StorageError: the system starts no process.
        """
        if self._process is None:
            known = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
            # -P: the folder where somebody works holds no code of ours. -B: nothing is written.
            command = [sys.executable, "-P", "-B", "-m", "modhub.package.worker"]
            try:
                self._process = subprocess.Popen(  # noqa: S603  It runs this very file.
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=known | ONE_THREAD,
                )
            except OSError as error:
                raise StorageError(f"cannot start the process that looks into packages: {error}") from error

    def verify(
        self,
        files: Mapping[str, Content],
        *,
        base: Package | None = None,
        form: str | None = None,
        subject: str = "package",
    ) -> Package:
        """Return the package that some files form; see `modhub.package.verify.verify`.

        Args:
            files: file names inside the release folder, and their bytes or where they lie.
            base: the base of a delta, verified by this worker before.
            form: the one form whose files were fetched; None where all files are there.
            subject: how errors call the package.

        Raises:
            InvalidPackage: with every problem found; or looking took more than is allowed.
            StorageError: the system starts no process.
        """
        known = None if base is None else self._bases[base]
        number, problems = self._look({"subject": subject, "form": form, "base": known}, files)
        if problems:
            raise InvalidPackage(problems, subject=subject)
        package = Package(manifest=Manifest.from_json(bytes_of(files[MANIFEST_FILE])), files=files)
        if package.manifest.kind == "base":
            self._bases[package] = number
        return package

    def look_into(
        self,
        files: Mapping[str, Content],
        *,
        base: int | None = None,
        subject: str = "package",
        patience_s: float = 0.0,
    ) -> Look:
        """Return what is wrong with a package; of files that lie on a disk, only the process reads them.

        Args:
            files: file names inside the release folder, and their bytes or where they lie.
            base: the number of the base of a delta, looked into by this worker before and without problems.
            subject: how problems call the package.
            patience_s: seconds to wait for this package; what the allowance says where it is 0.

        Raises:
            StorageError: the system starts no process.
        """
        return self._look({"subject": subject, "form": None, "base": base}, files, patience_s=patience_s)

    def forget(self) -> None:
        """Let the process drop the bases that it keeps, before it looks into anything else."""
        self._bases.clear()
        self._forgetting = True

    @property
    def is_dead(self) -> bool:
        """Whether a package, or somebody else, has ended the process."""
        return bool(self._end) or (self._process is not None and self._process.poll() is not None)

    def close(self) -> None:
        """End the process; a second time does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()

    def _look(self, job: dict[str, Any], files: Mapping[str, Content], *, patience_s: float = 0.0) -> Look:
        self._jobs += 1
        allowed = self._allowance
        job |= {
            "number": self._jobs,
            "forget": self._forgetting,
            "files": [[name, len(data), *_place_of(data)] for name, data in files.items()],
            "memory_bytes": allowed.memory_bytes,
            "memory_factor": allowed.memory_factor,
            "cpu_s": allowed.cpu_s,
        }
        found = self._ask(job, files, patience_s=patience_s or allowed.patience_s)
        self._forgetting = False
        return Look(self._jobs, found)

    def _ask(self, job: dict[str, Any], files: Mapping[str, Content], *, patience_s: float) -> list[FormatError]:
        if self._end:
            return [FormatError(f"was not looked into, because the package before it {self._end}")]
        self.start()
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise AssertionError("the process was started with pipes")
        late = Event()
        timer = Timer(patience_s, _kill, (process, late))
        timer.start()
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            for data in files.values():
                if isinstance(data, bytes):
                    process.stdin.write(data)
            process.stdin.flush()
            answer = process.stdout.readline(ANSWER_BYTES)
        except BrokenPipeError:
            answer = b""
        finally:
            timer.cancel()
        if answer.endswith(b"\n"):
            return [
                FormatError(str(text), where=str(where), file=str(file)) for text, where, file in json.loads(answer)
            ]
        self._end = self._cause(process, patience_s=patience_s if late.is_set() else None)
        self.close()
        return [FormatError(f"cannot be looked into safely: it {self._end}")]

    def _cause(self, process: subprocess.Popen[bytes], *, patience_s: float | None) -> str:
        """Return what a package did to the process; `patience_s` where that was ended."""
        allowed = self._allowance
        if patience_s is not None:
            return f"took more than {patience_s:,.0f} s"
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        code = process.poll()
        if hasattr(signal, "SIGXCPU") and code == -signal.SIGXCPU:
            return f"took more than {allowed.cpu_s} s of processor time"
        name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        memory = f"{allowed.memory_bytes >> 20:,} MiB and {allowed.memory_factor} times its size"
        return (
            f"ended the process that looked into it ({name}); a likely reason is memory, of which it may take {memory}"
        )


def _kill(process: subprocess.Popen[bytes], late: Event) -> None:
    late.set()
    process.kill()


def main() -> None:
    """Answer jobs until there are no more: a line of JSON and the bytes of its files, then a line with the problems."""
    # What libraries print must not end up between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit("CORE", 0)
    _limit("FSIZE", 0)
    bases: dict[int, Package] = {}
    while line := sys.stdin.buffer.readline():
        found = _answer(json.loads(line), sys.stdin.buffer, bases)
        problems = [[problem.problem, problem.where, problem.file] for problem in found]
        answers.write(json.dumps(problems).encode() + b"\n")
        answers.flush()


def _answer(job: dict[str, Any], stream: BinaryIO, bases: dict[int, Package]) -> tuple[FormatError, ...]:
    """Return the problems of the package of one job, and keep it where it is a base."""
    if job["forget"]:
        bases.clear()
    size = sum(length for _, length, *_ in job["files"]) + sum(base.size for base in bases.values())
    _limit("AS", job["memory_bytes"] + job["memory_factor"] * size)
    _limit("CPU", int(time.process_time()) + job["cpu_s"])
    try:
        files = {name: _content(stream, name, *about) for name, *about in job["files"]}
        from modhub.package.verify import verify

        base = bases[job["base"]] if job["base"] else None
        package = verify(files, base=base, form=job["form"], subject=job["subject"])
    except InvalidPackage as error:
        return error.problems
    except FormatError as error:
        return (error,)
    except ModhubError as error:  # A file has gone, or is another by now.
        return (FormatError(str(error)),)
    except (MemoryError, ImportError):  # A library that finds no memory for itself says that it cannot be imported.
        return (FormatError(f"takes more memory than the {size:,} bytes of its files justify"),)
    except Exception as error:  # noqa: BLE001  Whatever a stranger's file brings about, the file is not accepted.
        return (FormatError(f"cannot be looked into: {type(error).__name__}"),)
    if package.manifest.kind == "base":
        bases[job["number"]] = package
    return ()


def _place_of(data: Content) -> tuple[str, str] | tuple[()]:
    """Return where a file lies that does not travel, and its digest."""
    return () if isinstance(data, bytes) else (str(data.path.absolute()), data.sha256)


def _content(stream: BinaryIO, name: str, length: int, path: str = "", digest: str = "") -> Content:
    """Return a file that came, or that lies on a disk."""
    if not path:
        return stream.read(length)
    kind = MappedFile if name.endswith(ARRAYS_SUFFIX) and length >= LARGE_BYTES else LocalFile
    return kind(path=Path(path), size=length, sha256=digest)


def _limit(what: str, value: int) -> None:
    """Limit a resource of this process, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    kind = getattr(resource, f"RLIMIT_{what}")
    _, hard = resource.getrlimit(kind)
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    main()
