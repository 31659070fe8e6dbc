"""Kills, full disks and read-only disks: a release is there whole or not at all, and a second try succeeds."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modhub import fsops
from modhub.hub.backend import INDEX_FILE
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.index import Index
from tests.hub import faults
from tests.hub.packages import PETS, check_whole, lock_of, module
from tests.hub.workers import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
KILLS = 25
DRIVER = [sys.executable, "-m", "tests.hub.faults"]
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="NOT TESTED: kills and errors at every file-changing call need strace"
)
needs_namespaces = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="NOT TESTED: a full disk needs a mount of its own, hence root on Linux",
)


def run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a driver; what it prints is text."""
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A registry and a store with one published release."""
    folder = tmp_path / "before"
    client = faults.open_client(folder)
    client.publish(PETS, faults.old_packages())
    client.fetch(lock_of(client.snapshot(PETS)))
    return folder


def check_after(folder: Path, *, published: bool | None) -> None:
    """Check a folder in which publishing may have failed: old or new, whole, and a second try gives the new state."""
    backend = DirectoryBackend(folder / "registry")
    names = {release.name for release in check_whole(backend).releases}
    assert names in ({"base"}, {"base", "cat", "dog"})
    assert published is None or published == ("cat" in names)
    client = faults.open_client(folder)
    assert client.publish(PETS, faults.new_packages()).already == ("cat" in names)
    client.publish(PETS, [module("after")])
    index = check_whole(backend)
    assert {release.name for release in index.releases} == {"after", "base", "cat", "dog"}
    plain = backend.root / "acme" / "pets"
    assert Index.from_json((plain / INDEX_FILE).read_bytes()) == index
    assert (plain / "cat" / "1.0.0" / "module.json").is_file()
    check_store(folder)
    backend.prune(older_than_s=-60)
    client.store.prune(older_than_s=-60)
    assert not list(folder.rglob(f"{fsops.TEMPORARY}*"))


def check_store(folder: Path) -> None:
    """Check that installing works, and that the store then holds nothing damaged."""
    client = faults.open_client(folder)
    assert client.fetch(lock_of(client.snapshot(PETS)))
    store = Store(folder / "store")
    assert all(store.get(digest, limit=1 << 20) is not None for digest in store.digests())


def run_points(before: Path, *, operation: str, call: str, fault: str) -> tuple[list[tuple[Path, int]], str]:
    """Run an operation once per point of a kind of call; return folder and end of each, and all messages."""
    folders = [before.parent / f"{call}{number:02d}" for number in range(1, faults.POINTS[call])]
    for folder in folders:
        shutil.copytree(before, folder)
    calls = faults.SYSTEM_CALLS[call]
    inject = f"inject={calls}:{fault}:when={faults.POINTS[call]}"
    # The filter in the kernel saves time, but a signal from there does not arrive.
    fast = ["--seccomp-bpf"] if fault.startswith("error") else []
    strace = ["strace", "-f", *fast, "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]
    done = run([*strace, *DRIVER, "points", operation, call, *folders])
    assert done.returncode == 0, done.stderr
    ends = [int(end) for end in done.stdout.split()]
    assert len(ends) == len(folders)
    assert ends[-1] == 0, "there are more calls than points"
    return list(zip(folders, ends, strict=True)), done.stderr


@needs_strace
@pytest.mark.parametrize("call", faults.SYSTEM_CALLS)
def test_a_publish_killed_at_any_call_is_whole_or_absent(before: Path, call: str) -> None:
    runs, _ = run_points(before, operation="publish", call=call, fault="signal=KILL")
    assert any(end == -signal.SIGKILL for _, end in runs)
    for folder, end in runs:
        if end == -signal.SIGKILL:
            check_after(folder, published=None)
    check_after(runs[-1][0], published=True)


@needs_strace
@pytest.mark.parametrize("call", faults.SYSTEM_CALLS)
def test_a_publish_that_the_disk_refuses_at_any_call_says_so(before: Path, call: str) -> None:
    runs, messages = run_points(before, operation="publish", call=call, fault="error=ENOSPC")
    for line in messages.splitlines():
        assert re.fullmatch(r"StorageError: cannot (write|make folder) /.*: no space left on device", line), line
    assert len(messages.splitlines()) == sum(end == 1 for _, end in runs)
    assert {end for _, end in runs} <= {0, 1}
    for folder, end in runs:
        check_after(folder, published=True if end == 0 else None)


@needs_strace
@pytest.mark.parametrize("call", ["fsync", "write", "mkdir", "rename", "unlink"])
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO"])
def test_an_install_that_fails_at_any_call_leaves_no_damage(before: Path, call: str, fault: str) -> None:
    faults.publish(before)
    runs, messages = run_points(before, operation="install", call=call, fault=fault)
    assert all(re.match(r"StorageError: .*: input/output error$", line) for line in messages.splitlines()), messages
    assert {end for _, end in runs} <= {0, 1, -signal.SIGKILL}
    for folder, _ in runs:
        check_store(folder)


@needs_strace
def test_nothing_gets_its_name_before_its_bytes_are_on_the_disk(before: Path) -> None:
    log = before.parent / "log"
    calls = ",".join(["openat", *(faults.SYSTEM_CALLS[call] for call in ("fsync", "rename", "link"))])
    strace: list[str | Path] = ["strace", "-f", "-y", "-s", "400", "-o", log, "-e", f"trace={calls}"]
    done = run([*strace, *DRIVER, "points", "publish", "link", before])
    assert done.returncode == 0, done.stderr
    check_order(log.read_text(), below=str(before))


def check_order(log: str, *, below: str) -> None:
    """Check in a log of system calls that what gets a final name was synced before, and its folder after."""
    unsynced: set[str] = set()
    moves = 0
    for line in log.splitlines():
        if " = -1 " in line or below not in line:
            continue
        paths = re.findall(r'[<"](/[^">]*)[">]', line)
        if "openat(" in line and "O_CREAT" in line and "O_EXCL" in line:
            unsynced |= {paths[-1], str(Path(paths[-1]).parent)}
        elif "fsync(" in line:
            unsynced.discard(paths[0])
        elif "rename" in line or "link" in line:
            source, target = paths
            own = {path for path in unsynced if path == source or path.startswith(f"{source}/")}
            assert not own, f"{target} got its name before {own} reached the disk"
            unsynced.add(str(Path(target).parent))
            moves += 1
    assert moves >= 7
    assert not unsynced


@needs_namespaces
def test_on_a_full_disk_no_half_release_is_seen(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=1m none "$1" && shift && exec "$@"'
    done = run(["unshare", "-m", "sh", "-c", mount, "sh", tmp_path, *DRIVER, "full", tmp_path])
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_file_that_the_system_cuts_is_never_seen(before: Path) -> None:
    done = run([*DRIVER, "limit", before])
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="has other permissions")
def test_a_read_only_disk_is_read_and_nothing_else(before: Path) -> None:
    if os.geteuid() == 0:
        # Root ignores permissions.
        mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
        command: list[str | Path] = ["unshare", "-m", "sh", "-c", mount, "sh", before]
        if shutil.which("unshare") is None:
            pytest.skip("NOT TESTED: a read-only mount needs unshare")
    else:
        command = []
        for path in [before, *before.rglob("*")]:
            path.chmod(path.stat().st_mode & 0o555)
    done = run([*command, *DRIVER, "read-only", before])
    assert done.returncode == 0, done.stderr


def test_what_was_acknowledged_survives_kills_at_any_time(tmp_path: Path) -> None:
    chance = random.Random(20261121)  # noqa: S311  No secret.
    backend = DirectoryBackend(tmp_path / "registry")
    acknowledged = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.hub.workers", backend.root], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        acknowledged += len(process.communicate()[0].splitlines())
        versions = [release.version for release in check_whole(backend).releases]
        assert len(versions) >= acknowledged
        assert sorted(versions) == sorted(f"1.{minor}.0" for minor in range(len(versions)))
        acknowledged = len(versions)
        again = faults.open_client(tmp_path).publish(PETS, [module(version=f"1.{acknowledged}.0")])
        assert again.published
        acknowledged += 1
    assert acknowledged >= KILLS
