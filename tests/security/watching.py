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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
END = b"END\n"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

INSTALLATION = tuple(str(path) for path in (sys.prefix, sys.base_prefix, ROOT, Path(sys.executable).resolve().parent))
"""Code comes from the interpreter, what is installed beside it, and modhub itself; none of it from a package."""

SYSTEM_FILES = (
    "/dev/null", "/dev/urandom",  # Neither holds anything of anybody's.
    "/etc/localtime", "/usr/share/zoneinfo",  # The time zone, for dates that people read.
    "/proc/self/", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/fs/cgroup",  # Cores and memory.
    "/proc/sys/kernel/random/boot_id",  # Which start of the machine this is.
    "/etc/os-release", "/usr/lib/os-release",  # The name of the system.
    "/etc/mime.types", "/usr/share/mime",  # The standard library's table of file types.
)  # fmt: skip
"""What libraries read of the machine itself; nothing of it is written."""

GENERATORS = {
    ("dataclasses.py", "_create_fn"): "methods of our data classes, made when modhub is imported",
    ("collections/__init__.py", "namedtuple"): "named tuples of libraries, made when they are imported",
    ("ast.py", "parse"): "signatures of numpy's functions, only parsed, when it is imported",
    ("typing.py", "__init__"): "annotations written as text, compiled when a library is imported",
    ("types.py", "coroutine"): "a copy of a function's own code, marked as a coroutine, when `asyncio` is imported",
}
"""Who may compile text, by the end of the file and the function. Their text comes from code, none from a package."""


@dataclass(frozen=True, kw_only=True)
class More:
    """What some verbs do besides, through libraries that only they load.

    Args:
        generators: who else may compile text; see `GENERATORS`.
        readable: what else is read of the machine.
        programs: which others may be started, with all their arguments.
        pickles: which classes a pickle may name, by the function that reads it; none comes from a file.
        workers: which modules of modhub may be run in processes of their own.
        addresses: hosts and ports that may be listened on, connected to, and looked up.
        databases: whether there may be an SQLite database in the folder of the command.
    """

    generators: Mapping[tuple[str, str], str] = field(default_factory=dict)
    readable: tuple[str, ...] = ()
    programs: tuple[tuple[str, ...], ...] = ()
    pickles: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    workers: tuple[str, ...] = ()
    addresses: tuple[tuple[str, int], ...] = ()
    databases: bool = False

    def __or__(self, other: More) -> More:
        """Return what either allows."""
        return More(
            generators={**self.generators, **other.generators},
            readable=self.readable + other.readable,
            programs=self.programs + other.programs,
            pickles={**self.pickles, **other.pickles},
            workers=self.workers + other.workers,
            addresses=self.addresses + other.addresses,
            databases=self.databases or other.databases,
        )


OLD_PYTHONS = {
    ("six.py", "<module>"): "`raise ... from`, written as text for Python 2",
    ("multiprocessing/managers.py", "MakeProxyType"): "methods of the standard library's proxies",
}

SIGNING = More(
    generators={
        **OLD_PYTHONS,
        ("typing.py", "_evaluate"): "annotations of pydantic's models, evaluated when they are imported",
        ("typing_inspection/typing_objects.py", "_compile_identity_check_function"): "functions of this library",
        ("typing_inspection/typing_objects.py", "_compile_isinstance_check_function"): "functions of this library",
    },
    addresses=(("::1", 0),),
)
"""`urllib3` tries once, when it is imported, whether it could bind a socket to this machine's own IPv6 address."""

DRAWING = More(
    generators={**OLD_PYTHONS, ("jinja2/environment.py", "_compile"): "modhub's own templates"},
    readable=("/usr/share/fonts", "/usr/local/share/fonts"),
    programs=(("fc-list", "--help"), ("fc-list", "--format=%{file}\\n")),
)
"""matplotlib looks for the fonts of the machine once, and keeps the list in the user's cache."""

LEARNING = DRAWING | More(
    generators={
        ("mpmath/ctx_mp_python.py", "binary_op"): "operators of numbers, made when sympy is imported",
        ("sympy/external/importtools.py", "__sympy_debug"): "the word in a variable of the environment, as a literal",
        ("sympy/__init__.py", "__sympy_debug"): "the same",
        ("torch/distributed/nn/jit/instantiator.py", "exec_module"): "a template of torch's own",
    },
    pickles={("multiprocessing/queues.py", "get"): ("tensorboardX.proto.event_pb2.Event", "builtins.object")},
    addresses=(("::1", 0),),
)
"""tensorboardX hands its events from one thread of the process to another as pickles."""

TALKING = More(generators={("anyio/_lazyimport.py", "_build_lazy_map"): "its own imports, only parsed"})
"""What httpx is built on."""

SERVING = TALKING | More(
    generators={
        **OLD_PYTHONS,
        ("jinja2/environment.py", "_compile"): "the server's own templates",
        ("sqlalchemy/util/langhelpers.py", "exec_code_in_env"): "wrappers of its own functions",
        ("alembic/util/langhelpers.py", "_create_method_proxy"): "the same",
        ("alembic/operations/base.py", "register"): "the same",
        ("prometheus_client/decorator.py", "make"): "the same",
    },
    readable=("/proc/stat",),
    workers=("modhub_registry.pages.draw_worker",),
    databases=True,
)

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

SERVER = """
import _thread, json, sys, threading, time
from pathlib import Path
from modhub.cli.main import run

def interrupt_when_asked():
    while not Path("enough").exists():
        time.sleep(0.05)
    _thread.interrupt_main()

threading.Thread(target=interrupt_when_asked, daemon=True).start()
print("CODES", json.dumps([run(json.loads(sys.argv[1]))]))
"""
"""Runs a command that does not end by itself until there is a file called `enough`."""


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
    return _with_codes(watched_program(["-P", "-c", DRIVER, words], folder=folder))


def watched_server(*words: object, folder: Path) -> Seen:
    """Run a command of modhub until somebody makes the file `enough` in the folder ``work``; see `watched`."""
    return _with_codes(watched_program(["-P", "-c", SERVER, json.dumps([str(word) for word in words])], folder=folder))


def _with_codes(seen: Seen) -> Seen:
    found = re.search(r"^CODES (.*)$", seen.talk, re.MULTILINE)
    assert found is not None, seen.talk
    return Seen(seen.events, tuple(json.loads(found[1])), seen.talk)


def watched_program(words: Sequence[str], *, folder: Path) -> Seen:
    """Run a Python program; see `watched`."""
    hook = folder / "hook"
    hook.mkdir(parents=True)
    for place in ("home", "work", "temporary"):
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
        "TMPDIR": str(folder / "temporary"),
        "PYTHONPATH": str(folder / "hook"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }


def objections(seen: Seen, *, folder: Path, more: More | None = None) -> list[str]:
    """Return what was done that is not on the list, each thing once."""
    assert any(event.kind == "exec" for event in seen.events), "the watcher slept"
    rules = Rules(folder, more or More())
    return sorted(
        {f"{event.kind} {event.arguments} in {event.file}" for event in seen.events if not rules.allow(event)}
    )


class Rules:
    """What commands may do that work in a folder."""

    def __init__(self, folder: Path, more: More) -> None:
        self._work, self._own, self._more = folder / "work", (str(folder),), more

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
        return event.file in IMPORTERS or self._is_generator(event)

    def library(self, event: Event) -> bool:
        """Extension modules come from the installation."""
        file = event.arguments[1]
        return file is None or self._is_below(file, INSTALLATION)

    def open(self, event: Event) -> bool:
        """Files are read where modhub is installed and in the folders of the command, and written in the latter."""
        path, _, flags = event.arguments
        if isinstance(path, int) or path == "/dev/null":
            return True
        places = self._own if flags & WRITING else (*self._own, *INSTALLATION, *SYSTEM_FILES, *self._more.readable)
        return self._is_below(path, places)

    def change(self, event: Event) -> bool:
        """Files and folders are made, renamed and deleted in the folders of the command only."""
        return all(self._is_below(path, self._own) for path in event.arguments if isinstance(path, str))

    def start(self, event: Event) -> bool:
        """The only program is Python, which runs the worker, where nothing else is said."""
        program, words = event.arguments[:2]
        is_worker = program == sys.executable and words[-2] == "-m" and words[-1] in (WORKER, *self._more.workers)
        return bool(is_worker or (program == words[0] and tuple(words) in self._more.programs))

    def run(self, event: Event) -> bool:
        """A process runs what its command line says."""
        text = event.first().strip()
        # Long texts are told without their ends.
        is_driver = text != "" and any(program.strip().startswith(text) for program in (DRIVER, SERVER))
        return is_driver or text in (WORKER, *self._more.workers)

    def end(self, event: Event) -> bool:
        """The worker is killed when the command ends."""
        return event.function == "send_signal" and event.arguments[1] == signal.SIGKILL

    def installed(self, event: Event) -> bool:
        """The `ctypes` module opens the interpreter itself, by no name; libraries open what is installed with them."""
        file = event.arguments[0]
        return file is None or (Path(file).is_absolute() and self._is_below(file, INSTALLATION))

    def unpickle(self, event: Event) -> bool:
        """Pickles never name a class, where nothing else is said."""
        named = ".".join(event.arguments)
        known = self._more.pickles.items()
        return any(self._is_by(event, place) and named in classes for place, classes in known)

    def socket(self, _: Event) -> bool:
        """A socket is nothing as long as nobody connects it."""
        return bool(self._more.addresses)

    def connect(self, event: Event) -> bool:
        """Sockets are bound and connected to addresses that are expected."""
        return tuple(event.arguments[1][:2]) in self._more.addresses

    def look_up(self, event: Event) -> bool:
        """Only addresses that are expected are looked up, and they are numbers."""
        return tuple(event.arguments[:2]) in self._more.addresses

    def name_of_machine(self, event: Event) -> bool:
        """The name of this machine becomes part of the name of a log."""
        return event.file.endswith("tensorboardX/event_file_writer.py")

    def database(self, event: Event) -> bool:
        """A database is a file in the folder of the command."""
        return self._more.databases and self._is_below(event.first(), self._own)

    def connected(self, _: Event) -> bool:
        """A database that could be opened is told a second time."""
        return self._more.databases

    def _is_generator(self, event: Event) -> bool:
        return any(self._is_by(event, place) for place in (*GENERATORS, *self._more.generators))

    def _is_by(self, event: Event, place: tuple[str, str]) -> bool:
        file, function = place
        return f"/{event.file}".endswith(f"/{file}") and event.function == function

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
    "tempfile.mkdtemp": Rules.change,
    "tempfile.mkstemp": Rules.change,
    "subprocess.Popen": Rules.start,
    "os.kill": Rules.end,
    "cpython.run_command": Rules.run,
    "cpython.run_module": Rules.run,
    "ctypes.dlopen": Rules.installed,
    "pickle.find_class": Rules.unpickle,
    "socket.__new__": Rules.socket,
    "socket.connect": Rules.connect,
    "socket.bind": Rules.connect,
    "socket.getaddrinfo": Rules.look_up,
    "socket.gethostname": Rules.name_of_machine,
    "sqlite3.connect": Rules.database,
    "sqlite3.connect/handle": Rules.connected,
}
"""Not on the list, among others: `os.system`, other programs, symbolic links, changed permissions."""


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
