"""A1, A2, A4: killed or refused at every call that changes a file; and the order in which bytes reach the disk."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults import points, scenes
from tests.support.figures import STRESS
from tests.support.needed import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

# strace writes "12 openat(AT_FDCWD</tmp>, "/tmp/x", O_RDONLY) = 3</tmp/x>".
CALL = re.compile(r"\d+\s+(?P<name>\w+)\(")
KINDS = {word.strip("?"): kind for kind, words in points.SYSTEM_CALLS.items() for word in words.split(",")}
CHANGES = ",".join(points.SYSTEM_CALLS.values())
ERRORS = {"ENOSPC": "no space left on device", "EIO": "input/output error", "EDQUOT": "disk quota exceeded"}


@dataclass(frozen=True)
class Run:
    """A run of an operation with one of its calls failing: where, and how it ended."""

    operation: str
    call: str
    number: int
    folder: Path
    end: int

    @property
    def said(self) -> str:
        """What it said when it failed."""
        path = self.folder / "said"
        return path.read_text() if path.is_file() else ""


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    probe = ["strace", "-o", "/dev/null", "-e", "trace=none", "true"]
    if shutil.which("strace") is None or subprocess.run(probe, check=False, capture_output=True).returncode:
        lacking("strace", "it makes any call fail; it is missing, or may not trace here")


@pytest.fixture(scope="module")
def scene(memory: Path) -> dict[str, Path]:
    """The folders in which the operations start."""
    first, second = scenes.make(memory / "first"), scenes.make(memory / "second", everything=True)
    return {"publish": first, "install": second, "yank": second, "prune": second}


@pytest.fixture(scope="module")
def logs(scene: dict[str, Path], memory: Path) -> dict[str, list[str]]:
    """What strace saw of each operation when nothing failed."""
    return {name: recorded(name, before, memory / f"recorded-{name}") for name, before in scene.items()}


@pytest.fixture
def place(memory: Path) -> Iterator[Path]:
    """A folder for the runs of one test."""
    folder = memory / "runs"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def recorded(operation: str, before: Path, place: Path) -> list[str]:
    """Return the calls of one run, each with the paths of its descriptors."""
    shutil.copytree(before, place / "folder")
    strace: list[str | Path] = ["strace", "-f", "-y", "-s", "400", "-o", place / "log", "-e", f"trace={CHANGES}"]
    (end,) = injected([(operation, "open", 0, place / "folder")], strace, place)
    assert end.end == 0, end.said
    lines = (place / "log").read_text().splitlines()
    return [line for line in lines if str(place / "folder") in line]


def injected(tasks: list[tuple[str, str, int, Path]], strace: list[str | Path], place: Path) -> list[Run]:
    """Run tasks below strace and return how they ended."""
    (place / "tasks").write_text(json.dumps([[*task[:3], str(task[3])] for task in tasks]))
    command = scenes.python("tests.faults.points", place / "tasks", place / "ends")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=scenes.ROOT, env=scenes.ENVIRONMENT, stdin=pipe, stdout=pipe) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"ready\n"
        with subprocess.Popen([*strace, "-p", str(driver.pid)], stderr=pipe) as tracer:
            assert tracer.stderr is not None
            assert b"attached" in tracer.stderr.readline()
            driver.communicate(b"go\n", timeout=scenes.PATIENCE_S)
            tracer.communicate(timeout=scenes.PATIENCE_S)
    assert driver.returncode == 0
    ends = json.loads((place / "ends").read_text())
    return [Run(*task, end) for task, end in zip(tasks, ends, strict=True)]


def counted(log: list[str]) -> Counter[str]:
    """Return how many calls of each kind there are."""
    found = (CALL.match(line) for line in log)
    return Counter(KINDS[match["name"]] for match in found if match)


def at_every_call(
    fault: str, scene: dict[str, Path], logs: dict[str, list[str]], place: Path, *, every: int = 1, first: int = 0
) -> list[Run]:
    """Run each operation once per call it makes, with that call failing."""
    tasks = []
    for operation, log in logs.items():
        counts = counted(log)
        assert max(counts.values()) + 40 < points.POINT
        # A few more than were counted, since some files are opened that lie elsewhere.
        numbered = [(call, number) for call in points.SYSTEM_CALLS for number in range(1, counts[call] + 3)]
        for call, number in numbered[first::every]:
            folder = place / f"{operation}-{call}-{number}"
            shutil.copytree(scene[operation], folder)
            tasks.append((operation, call, number, folder))
    injections = [
        word for calls in points.SYSTEM_CALLS.values() for word in ("-e", f"inject={calls}:{fault}:when={points.POINT}")
    ]
    strace: list[str | Path] = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={CHANGES}", *injections]
    return injected(tasks, strace, place)


def check(run: Run) -> None:
    """Check what a run left: everything whole, what was acknowledged there, and the second try succeeds."""
    index = scenes.check_registry(run.folder)
    names = {release.name for release in index.releases}
    if run.operation == "publish" and run.end == 0:
        assert "cat" in names, run
    if run.operation == "yank" and run.end == 0:
        assert index.get("base", "1.0.0").yanked, run  # type: ignore[union-attr]
    if run.operation != "publish":
        assert "cat" in names, run
    scenes.check_store(run.folder)
    scenes.check_retried(run.folder, run.operation)


def test_killed_at_any_call(scene: dict[str, Path], logs: dict[str, list[str]], place: Path, figures: Figures) -> None:
    runs = at_every_call("signal=KILL", scene, logs, place)
    assert {run.end for run in runs} <= {0, -signal.SIGKILL}, [(run, run.said) for run in runs]
    for run in runs:
        check(run)
    for operation in scene:
        ends = [run.end for run in runs if run.operation == operation]
        killed = ends.count(-signal.SIGKILL)
        assert killed >= 0.6 * len(ends)
        figures.tell("A1", operation, points=len(ends), killed=killed, acknowledged=ends.count(0), lost=0, half_there=0)


@pytest.mark.parametrize("cause", ERRORS)
def test_refused_at_any_call(
    scene: dict[str, Path], logs: dict[str, list[str]], place: Path, figures: Figures, cause: str
) -> None:
    # Each call is refused, for one of the three reasons; with MODHUB_STRESS, for all.
    every, first = (1, 0) if STRESS else (len(ERRORS), list(ERRORS).index(cause))
    runs = at_every_call(f"error={cause}", scene, logs, place, every=every, first=first)
    assert {run.end for run in runs} <= {0, 1}, [(run, run.said) for run in runs if run.end not in (0, 1)]
    for run in runs:
        if run.end == 1:
            assert re.fullmatch(rf"StorageError: cannot [a-z ]+ /.*: {ERRORS[cause]}", run.said), (run, run.said)
        check(run)
    for operation in scene:
        ends = [run.end for run in runs if run.operation == operation]
        figures.tell(
            "A2", f"{operation}, {cause}", runs=len(ends), refused=ends.count(1), done_all_the_same=ends.count(0)
        )


@pytest.mark.parametrize("operation", ["publish", "install", "yank", "prune"])
def test_nothing_gets_its_name_before_its_bytes_are_on_the_disk(
    logs: dict[str, list[str]], operation: str, figures: Figures
) -> None:
    moves, syncs = check_order(logs[operation])
    figures.tell("A4", operation, names_given=moves, syncs=syncs, violations=0)
    assert moves or operation == "prune"


def check_order(log: list[str]) -> tuple[int, int]:
    """Check that what gets a final name was synced before, and its folder after; return how many of each there were."""
    unsynced: set[str] = set()
    moves = syncs = 0
    for line in log:
        if " = -1 " in line:
            continue
        paths = re.findall(r'[<"](/[^">]*)[">]', line)
        if "openat(" in line and "O_CREAT" in line and "O_EXCL" in line:
            unsynced |= {paths[-1], str(Path(paths[-1]).parent)}
        elif "fsync(" in line:
            syncs += 1
            unsynced.discard(paths[0])
        elif "rename" in line or " link" in line:
            source, target = paths[-2:]
            own = {path for path in unsynced if path == source or path.startswith(f"{source}/")}
            assert not own, f"{target} got its name before {own} reached the disk"
            if "/.tmp-" not in target:
                unsynced.add(str(Path(target).parent))
                moves += 1
        elif "unlink" in line or "rmdir" in line:
            unsynced -= {path for path in unsynced if path == paths[-1]}
    assert not unsynced
    return moves, syncs


def test_the_order_is_checked(tmp_path: Path) -> None:
    """A writer that forgets a sync is found."""
    log = [
        f'1 openat(AT_FDCWD</>, "{tmp_path}/.tmp-1", O_WRONLY|O_CREAT|O_EXCL) = 3<{tmp_path}/.tmp-1>',
        f"1 fsync(3<{tmp_path}/.tmp-1>) = 0",
        f'1 rename("{tmp_path}/.tmp-1", "{tmp_path}/a") = 0',
        f"1 fsync(3<{tmp_path}>) = 0",
    ]
    assert check_order(log) == (1, 2)
    for number in (1, 3):
        with pytest.raises(AssertionError):
            check_order([line for place, line in enumerate(log) if place != number])
