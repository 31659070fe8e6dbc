"""A6, A7: a disk that is full, one that cannot be written, and a limit on the size of files."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.faults import disks, scenes
from tests.support.needed import lacking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

DRIVER = "tests.faults.disks"


def in_namespace(mount: str, where: Path, command: list[str | Path]) -> list[str | Path]:
    """Return a command that runs another with a mount nobody else sees."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        lacking("namespaces", "a mount of its own takes root on Linux")
    return ["unshare", "-m", "sh", "-c", f'{mount} && shift && exec "$@"', "sh", where, *command]


def test_on_a_full_disk_no_half_release_is_seen(tmp_path: Path, figures: Figures) -> None:
    folder, elsewhere = tmp_path / "small", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    command = scenes.python(DRIVER, "full", folder, elsewhere)
    done = scenes.run(in_namespace('mount -t tmpfs -o size=8m none "$1"', folder, command))
    assert done.returncode == 0, done.stderr
    figures.tell("A6", "8 MB, then full", **json.loads(done.stdout), lost=0, half_there=0)


def test_a_read_only_disk_is_read_and_nothing_else(tmp_path: Path, figures: Figures) -> None:
    folder, elsewhere = tmp_path / "read", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    disks.prepare_reading(folder)
    command = scenes.python(DRIVER, "read-only", folder, elsewhere)
    if os.geteuid() == 0:
        # Root ignores permissions.
        command = in_namespace('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"', folder, command)
    else:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(path.stat().st_mode & 0o555)
    done = scenes.run(command)
    assert done.returncode == 0, done.stderr
    figures.tell("A7", "registry, store and lock", **json.loads(done.stdout), changed=0)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_file_that_the_system_cuts_is_never_seen(tmp_path: Path) -> None:
    done = scenes.run(scenes.python(DRIVER, "limit", tmp_path, tmp_path))
    assert done.returncode == 0, done.stderr
