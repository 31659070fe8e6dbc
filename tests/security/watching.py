"""Commands under the eyes of `watcher`, and what of it they may do.

    seen = watched(["search", "cat"], folder=tmp_path)
    assert not objections(seen, folder=tmp_path)

The list is one of what is allowed, each with its reason; whatever is not on it is an objection.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
END = b"END\n"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

INSTALLATION = tuple(str(path) for path in (sys.prefix, sys.base_prefix, ROOT, Path(sys.executable).resolve().parent))
"""Code comes from the interpreter, what is installed beside it, and modhub itself; none of it from a package."""

SYSTEM_FILES = (
    "/dev/null", "/dev/urandom",  # Neither holds anything of anybody's.
    "/etc/localtime", "/usr/share/zoneinfo",  # The time zone, for dates that people read.
    "/proc/self/", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/fs/cgroup",  # Cores and memory.
    "/etc/os-release", "/usr/lib/os-release",  # The name of the system.
    "/etc/mime.types", "/usr/share/mime",  # The standard library's table of file types.
)  # fmt: skip
"""What libraries read of the machine itself; nothing of it is written."""

GENERATORS = {
    ("dataclasses.py", "_create_fn"): "methods of our data classes, made when modhub is imported",
    ("collections/__init__.py", "namedtuple"): "named tuples of libraries, made when they are imported",
    ("ast.py", "parse"): "signatures of numpy's functions, only parsed, when it is imported",
    ("typing.py", "__init__"): "annotations written as text, compiled when a library is imported",
}
"""Who may compile text, by the end of the file and the function. Their text comes from code, none from a package."""

LICENCE_WORDS = re.compile(r"(?:False|and|or|[() ])*")
"""`packaging` lets Python's parser look at a licence, after it replaced every name in it by `False`."""

IMPORTERS = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>", "<frozen runpy>")
WORKER = "modhub.package.worker"
"""The one program that a command may start: it looks into packages of strangers, under limits."""

DRIVER = """
import json, sys
from modhub.cli.main import run
print("CODES", json.dumps([run(words) for words in json.loads(sys.argv[1])]))
"""


@dataclass(frozen=True)
class Event:
    """One thing that a process did: what, in which function of which file, and with what."""

    kind: str
    file: str
    function: str
    arguments: list[Any]

    def first(self) -> str:
        """Return the first argument as text."""
        return str(self.arguments[0]) if self.arguments else ""


@dataclass(frozen=True)
class Seen:
    """The events of some commands and of all processes that they started, and the commands' exit codes."""

    events: tuple[Event, ...]
    codes: tuple[int, ...]
    talk: str


def watched(*commands: Sequence[object], folder: Path) -> Seen:
    """Run commands of modhub, one after the other in one process whose home and current folder are new ones."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    seen = watched_program(["-P", "-c", DRIVER, words], folder=folder)
    found = re.search(r"^CODES (.*)$", seen.talk, re.MULTILINE)
    assert found is not None, seen.talk
    return Seen(seen.events, tuple(json.loads(found[1])), seen.talk)


def watched_program(words: Sequence[str], *, folder: Path) -> Seen:
    """Run a Python program; see `watched`."""
    hook = folder / "hook"
    hook.mkdir(parents=True)
    for place in ("home", "work"):
        (folder / place).mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("watcher.py"), hook / "sitecustomize.py")
    os.mkfifo(hook / "events")
    with _reading(hook / "events") as told:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder / "work",
            env=environment(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = told()
    return Seen(tuple(Event(*json.loads(line)) for line in lines), (done.returncode,), done.stdout + done.stderr)


def environment(folder: Path) -> dict[str, str]:
    """Return what a watched process is told of the world: nothing of the person who runs the tests."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "PYTHONPATH": str(folder / "hook"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }


def objections(seen: Seen, *, folder: Path) -> list[str]:
    """Return what was done that is not on the list, each thing once."""
    assert any(event.kind == "exec" for event in seen.events), "the watcher slept"
    rules = Rules(folder)
    return sorted(
        {f"{event.kind} {event.arguments} in {event.file}" for event in seen.events if not rules.allow(event)}
    )


class Rules:
    """What commands may do that work in a folder."""

    def __init__(self, folder: Path) -> None:
        self._work, self._own = folder / "work", (str(folder),)

    def allow(self, event: Event) -> bool:
        """Tell whether an event is on the list."""
        rule = RULES.get(event.kind)
        return rule is not None and rule(self, event)

    def code(self, event: Event) -> bool:
        """Code comes from the installation, or from one of those who generate it from code."""
        file = event.first()
        if file.startswith("<frozen") or (Path(file).is_absolute() and self._is_below(file, INSTALLATION)):
            return True
        return event.file == "" or self._is_generator(event)

    def source(self, event: Event) -> bool:
        """Source text comes from files that are imported, or from those who generate it."""
        if event.file.endswith("packaging/licenses/__init__.py"):
            return LICENCE_WORDS.fullmatch(event.first()) is not None
        return event.file in ("", *IMPORTERS) or self._is_generator(event)

    def compiled(self, event: Event) -> bool:
        """Compiled code is read by the import system only."""
        return event.file in IMPORTERS

    def library(self, event: Event) -> bool:
        """Extension modules come from the installation."""
        file = event.arguments[1]
        return file is None or self._is_below(file, INSTALLATION)

    def open(self, event: Event) -> bool:
        """Files are read where modhub is installed and in the folders of the command, and written in the latter."""
        path, _, flags = event.arguments
        if isinstance(path, int) or path == "/dev/null":
            return True
        places = self._own if flags & WRITING else (*self._own, *INSTALLATION, *SYSTEM_FILES)
        return self._is_below(path, places)

    def change(self, event: Event) -> bool:
        """Files and folders are made, renamed and deleted in the folders of the command only."""
        return all(self._is_below(path, self._own) for path in event.arguments if isinstance(path, str))

    def start(self, event: Event) -> bool:
        """The only program is Python, which runs the worker."""
        program, words = event.arguments[:2]
        return bool(program == sys.executable and words[-2:] == ["-m", WORKER])

    def run(self, event: Event) -> bool:
        """A process runs what its command line says."""
        return event.first().strip() in (DRIVER.strip(), WORKER)

    def end(self, event: Event) -> bool:
        """The worker is killed when the command ends."""
        return event.function == "send_signal" and event.arguments[1] == signal.SIGKILL

    def itself(self, event: Event) -> bool:
        """The `ctypes` module opens the interpreter itself, by no name, when it is imported."""
        return event.arguments == [None]

    def _is_generator(self, event: Event) -> bool:
        return any(event.file.endswith(file) and event.function == function for file, function in GENERATORS)

    def _is_below(self, path: str, places: Sequence[str]) -> bool:
        return os.path.normpath(self._work / path).startswith(tuple(places))


RULES: dict[str, Callable[[Rules, Event], bool]] = {
    "exec": Rules.code,
    "code.__new__": Rules.compiled,
    "compile": Rules.source,
    "marshal.loads": Rules.compiled,
    "import": Rules.library,
    "open": Rules.open,
    **{f"os.{verb}": Rules.change for verb in ("mkdir", "rename", "remove", "rmdir", "link", "truncate")},
    "shutil.rmtree": Rules.change,
    "subprocess.Popen": Rules.start,
    "os.kill": Rules.end,
    "cpython.run_command": Rules.run,
    "cpython.run_module": Rules.run,
    "ctypes.dlopen": Rules.itself,
}
"""Not on the list, among others: sockets, pickles, other programs, `os.system`, links, changed permissions."""


class _reading:  # noqa: N801  It is used as a function.
    """Collect the lines that come out of a pipe while a block runs."""

    def __init__(self, pipe: Path) -> None:
        self._descriptor = os.open(pipe, os.O_RDWR)
        self._thread = threading.Thread(target=self._read)
        self._data = b""

    def __enter__(self) -> Callable[[], list[str]]:
        self._thread.start()
        return self._lines

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._lines()
        os.close(self._descriptor)

    def _read(self) -> None:
        while not self._data.endswith(END):
            self._data += os.read(self._descriptor, 1 << 16)

    def _lines(self) -> list[str]:
        os.write(self._descriptor, END)
        self._thread.join()
        return self._data.decode().splitlines()[:-1]


def hostile_folders(place: Path, samples: Sequence[Any]) -> Iterator[Path]:
    """Write hostile packages as folders, those whose file names a folder can have, and yield the folders."""
    for number, sample in enumerate(samples):
        if all(re.fullmatch(r"[a-z.A-Z]+", name) for name in sample.files):
            folder = place / str(number)
            folder.mkdir(parents=True)
            for name, data in sample.files.items():
                (folder / name).write_bytes(data)
            yield folder
