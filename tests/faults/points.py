"""Runs operations of a folder while strace makes one of their system calls fail, or kills the process there.

``python -m tests.faults.points TASKS ENDS`` reads a list of ``[operation, call, number, folder]``. Each runs in a
process of its own, which first makes some idle calls, so that the fault of ``strace -e inject=CALL:...:when=POINT``
hits call `number` of the operation. So one strace covers every point of every operation. Number 0 is never hit.
It says ``ready``, and begins when it is told to: until then strace has the time to attach itself.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modhub.errors import ModhubError
from modhub.hub import download
from tests.faults.scenes import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

POINT = 150
"""More calls of one kind than any operation makes; a test checks that they are."""

NOWHERE = Path("/nonexistent/file")


class InOrder(ThreadPoolExecutor):
    """Does at once what it is given: strace counts the calls of each thread by itself."""

    def submit(self, work: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Do it, and return what came of it."""
        future: Future[Answer] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  Raised where the answer is asked for.
            future.set_exception(error)
        return future


def _open() -> None:
    os.close(os.open("/dev/null", os.O_RDONLY))


IDLE_CALLS: dict[str, Callable[[], object]] = {
    "open": _open,
    "fsync": lambda: os.fsync(0),
    "write": lambda: os.write(0, b""),
    "mkdir": NOWHERE.mkdir,
    "rmdir": NOWHERE.rmdir,
    "unlink": NOWHERE.unlink,
    "rename": lambda: NOWHERE.rename(NOWHERE),
    "link": lambda: NOWHERE.hardlink_to(NOWHERE),
}
SYSTEM_CALLS = {
    "open": "?open,?openat",
    "fsync": "fsync",
    "write": "write",
    "mkdir": "?mkdir,?mkdirat",
    "rmdir": "?rmdir",
    "unlink": "?unlink,?unlinkat",
    "rename": "?rename,?renameat,?renameat2",
    "link": "?link,?linkat",
}
"""By Python's names; which of them the C library uses depends on the machine."""


def run_point(operation: Callable[[Path], None], idle_call: Callable[[], object], folder: Path, *, idle: int) -> None:
    """Run an operation after some idle calls, and end the process: 0 done, 1 an error of ours, 2 any other."""
    code = 2
    try:
        for _ in range(idle):
            with suppress(OSError):
                idle_call()
        operation(folder)
        code = 0
    except ModhubError as error:
        _say(f"{type(error).__name__}: {error}")
        code = 1
    except BaseException as error:  # noqa: BLE001  Told by the parent.
        _say(f"{type(error).__name__}: {error!r}")
    finally:
        os._exit(code)


def main(tasks: list[tuple[str, str, int, str]]) -> list[int]:
    """Run all tasks and return how each process ended."""
    vars(download)["ThreadPoolExecutor"] = InOrder
    ends = []
    for operation, call, number, folder in tasks:
        process = os.fork()
        if process == 0:
            os.chdir(folder)
            run_point(OPERATIONS[operation], IDLE_CALLS[call], Path(folder), idle=POINT - number if number else 0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    return ends


def _say(text: str) -> None:
    """Leave the words in the folder: standard error is a file, too, and its writes may fail."""
    with suppress(OSError):
        Path("said").write_text(text)


if __name__ == "__main__":
    todo = json.loads(Path(sys.argv[1]).read_text())
    print("ready", flush=True)  # noqa: T201  The parent waits for it.
    sys.stdin.readline()
    Path(sys.argv[2]).write_text(json.dumps(main(todo)))
