"""No verb runs, unpickles, opens or connects to anything but what is on the list in `watching`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from modhub import flow
from tests.security.watching import (
    DRIVER,
    INSTALLATION,
    ROOT,
    SYSTEM_FILES,
    Seen,
    environment,
    hostile_folders,
    objections,
    watched,
    watched_program,
)
from tests.support.corpus import samples
from tests.support.pets import pets_packages, publish_pets, write_pets_data

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: the events travel through a named pipe")

STRACE = shutil.which("strace") or ""
needs_strace = pytest.mark.skipif(not STRACE, reason="NOT TESTED: what libraries in C++ open is only seen by strace")

SEED = (
    ("search", "cat"),
    ("resolve", "modhub/resnet20-cifar10/cat"),
    ("install", "modhub/resnet20-cifar10/cat", "class:dog"),
    ("compose", "modhub.lock", "-o", "out"),
    ("run", "out", "sample:cifar10-test"),
    ("check", "out"),
    ("evaluate", "out", "--data", "sample:cifar10-test"),
)

FORBIDDEN = {
    "a pickle that is read": ("import pickle, io; pickle.loads(b'cos\\nsystem\\n.')", "pickle.find_class"),
    "text that is run": ("eval('1 + 1')", "exec"),
    "a file of somebody else": ("open('/etc/passwd')", "open"),
    "a file written elsewhere": ("open('/tmp/modhub-was-here', 'ab').close()", "open"),
    "another program": ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    "a shell": ("import os; os.system('true')", "os.system"),
    "a socket": ("import socket; socket.socket()", "socket.__new__"),
    "a name that is looked up": ("import socket; socket.getaddrinfo('127.0.0.1', 9)", "socket.getaddrinfo"),
    "a library": ("import ctypes; ctypes.CDLL('libc.so.6')", "ctypes.dlopen"),
}


def pets_verbs(folder: Path) -> tuple[tuple[object, ...], ...]:
    """Return every verb on a collection in a folder and on a registry, made there."""
    flow.write_collection(pets_packages(forms=("delta", "standalone")), folder / "pets")
    registry, data = publish_pets(folder / "registry", "1.0.0"), write_pets_data(folder / "pets.npz")
    return (
        ("search", "-r", registry, "cat"),
        ("resolve", "-r", registry, "acme/pets/cat"),
        ("install", "-r", registry, "acme/pets/cat", "class:dog"),
        ("compose", folder / "pets", "-o", "out"),
        ("run", "out", data),
        ("check", folder / "pets"),
        ("evaluate", "out", "--data", data),
    )


def test_no_verb_leaves_its_list_on_the_seed(tmp_path: Path) -> None:
    seen = watched(*SEED, folder=tmp_path)
    assert set(seen.codes) == {0}, seen.talk
    assert objections(seen, folder=tmp_path) == []


def test_no_verb_leaves_its_list_on_a_collection_of_somebody(tmp_path: Path) -> None:
    seen = watched(*pets_verbs(tmp_path), folder=tmp_path)
    assert set(seen.codes) == {0}, seen.talk
    assert objections(seen, folder=tmp_path) == []


def test_looking_into_hostile_packages_leaves_no_list(tmp_path: Path) -> None:
    folders = list(hostile_folders(tmp_path / "hostile", samples()[::25]))
    assert len(folders) >= 5
    seen = watched(*(("check", folder) for folder in folders), folder=tmp_path)
    assert set(seen.codes) == {1}, seen.talk
    assert objections(seen, folder=tmp_path) == []


@pytest.mark.parametrize(("program", "kind"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_watcher_would_notice(program: str, kind: str, tmp_path: Path) -> None:
    seen = watched_program(["-P", "-c", f"import modhub.errors\n{program}"], folder=tmp_path)
    allowed = Seen(tuple(event for event in seen.events if event.kind != "cpython.run_command"), (), "")
    assert any(line.startswith(f"{kind} ") for line in objections(allowed, folder=tmp_path)), seen.talk


@needs_strace
def test_libraries_in_other_languages_open_and_start_nothing_else_either(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    log = tmp_path / "calls"
    calls = "trace=execve,connect,bind,openat,open,creat,symlink,symlinkat"
    words = '[["compose", "modhub/resnet20-cifar10/cat", "-o", "out"], ["run", "out", "sample:cifar10-test"]]'
    done = subprocess.run(
        [STRACE, "-f", "-qq", "-e", calls, "-o", log, sys.executable, "-P", "-c", DRIVER, words],
        cwd=tmp_path / "work",
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("NOT TESTED: strace may not look at processes here")
    assert "CODES [0, 0]" in done.stdout, done.stderr
    lines = log.read_text().splitlines()
    assert len(lines) > 100
    started = [line for line in lines if "execve(" in line]
    # The driver, and for each verb at most the worker that looks into packages.
    assert all("modhub.package.worker" in line for line in started[1:])
    assert len(started) <= 3
    assert not [line for line in lines if re.search(r"\b(connect|bind|symlink|symlinkat)\(", line)]
    assert not [line for line in lines if is_elsewhere(line, tmp_path)]
    assert not [line for line in lines if "Microsoft" in line or "deviceid" in line]


def is_elsewhere(line: str, folder: Path) -> bool:
    """Tell whether a call opened a file outside of a folder, other than one of the system to read it."""
    found = re.search(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)", (\S+?)[,)].* = \d+', line)
    if found is None:
        return False
    path, written = os.path.normpath(folder / "work" / found[1]), re.search("O_WRONLY|O_RDWR|O_CREAT", found[2])
    places = (str(folder), "/dev/null")
    readable = (*INSTALLATION, *SYSTEM_FILES, *LINKER, str(ROOT))
    return not path.startswith(places if written else (*places, *readable))


LINKER = ("/etc/ld.so.cache", "/lib", "/usr/lib", "/usr/local/lib", "/lib64", "/proc/", "/sys/", "/usr/share/locale")
"""What the dynamic linker, the C library and the interpreter read before modhub begins."""
