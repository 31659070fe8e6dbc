"""A9: clocks that are years off, and one that jumps back: the order stays right, for it never came from a clock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modhub.hub.directory import DirectoryBackend
from tests.faults import scenes
from tests.hub.packages import check_whole
from tests.server.collections import lines
from tests.server.process import process
from tests.server.service import header
from tests.support.figures import STRESS
from tests.support.needed import lacking

if TYPE_CHECKING:
    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

CLOCKS = {"-10y": -10 * 365, "-2d": -2, "+2d": 2, "+10y": 10 * 365}
DAY_S = 86400


@pytest.fixture(scope="module")
def library() -> str:
    """The library that lies to a process about the time."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if shutil.which("faketime") is None or not found:
        lacking("faketime", "clocks that are off are made by it")
    return str(found[0])


def lie(library: str, clock: str) -> dict[str, str]:
    """Return the environment of a process whose clock is off."""
    return {"LD_PRELOAD": library, "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def test_the_order_never_comes_from_a_clock(tmp_path: Path, library: str, figures: Figures) -> None:
    backend = DirectoryBackend(tmp_path / "registry")
    for number, clock in enumerate(("+10y", "-10y", "+2d", "-2d")):
        driver = scenes.python("tests.faults.clocks", tmp_path, f"1.{number}.0")
        done = scenes.run(driver, **lie(library, clock))
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert abs(told["year"] - told["expected_year"]) <= 1, "the clock was not off"
        index = check_whole(backend)
        # A publish and a yank each time, one after the other, whatever the clock says.
        assert index.revision == 2 * (number + 1)
        assert [release.version for release in index.releases] == [f"1.{minor}.0" for minor in range(number + 1)]
        assert all(release.yanked for release in index.releases)
    figures.tell("A9", "publish, yank, install, prune", clocks=4, wrong_order=0)


def test_a_clock_may_jump_back_while_something_is_published(tmp_path: Path, library: str, figures: Figures) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+5d")
    environment = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    driver = scenes.python("tests.faults.clocks", tmp_path, "1.0.0", clock)
    done = scenes.run(driver, **environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["jumps"] > 2
    assert check_whole(DirectoryBackend(tmp_path / "registry")).revision == 2
    figures.tell("A9", "a jump back at every change", jumps=json.loads(done.stdout)["jumps"], wrong_order=0)


@pytest.mark.parametrize("clock", CLOCKS if STRESS else ["-10y", "+10y"])
def test_a_server_whose_clock_is_off_serves_all_the_same(
    tmp_path: Path, library: str, clock: str, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    for name, value in lie(library, clock).items():
        monkeypatch.setenv(name, value)
    with process(tmp_path) as server:
        service = server.service
        service.api().create_repo("alice/clock")
        shas = []
        for number in range(3):
            answer = service.commit("alice/clock", header(), *lines({"a": b"%d" % number}))
            assert answer.status == 200, answer
            shas.append(answer.json()["commitOid"])
        history = service.call("GET", "/api/models/alice/clock/commits/main").json()
        assert [each["id"] for each in history][:3] == shas[::-1]
        assert service.call("GET", "/alice/clock/resolve/main/a").body == b"2"
        # What does depend on a clock says so: this token was made by a process with the right time.
        text = service.token("brief", "read", days=1)
        status = service.call("GET", "/api/whoami-v2", headers={"Authorization": f"Bearer {text}"}).status
        assert status == (401 if CLOCKS[clock] >= 1 else 200)
    figures.tell("A9", f"server at {clock}", wrong_order=0)


def test_the_processes_of_this_file_do_read_the_clock(library: str) -> None:
    program = "import time; print(time.time())"
    environment = {**os.environ, **lie(library, "+10y")}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert float(told.stdout) - time.time() > 9 * 365 * DAY_S
