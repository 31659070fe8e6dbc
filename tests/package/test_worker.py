"""The process that looks into strangers' packages: same verdicts, and it dies in the command's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from modhub import flow
from modhub.errors import InvalidPackage, StorageError
from modhub.package.folder import read_collection
from modhub.package.verify import verify
from modhub.package.worker import Allowance, Worker
from tests.support.corpus import samples
from tests.support.pets import pets_packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modhub.package.package import Package

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux limits memory and time")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One process for all tests of this file that leave it alive."""
    with Worker() as process:
        yield process


def problems_of(error: InvalidPackage) -> list[tuple[str, str, str]]:
    """Return problems as values that can be compared."""
    return [(problem.problem, problem.where, problem.file) for problem in error.problems]


def test_a_good_package_and_its_base_come_back_as_they_are(worker: Worker) -> None:
    base, module, *_ = pets_packages(forms=("delta", "standalone"))
    known = worker.verify(base.files)
    found = worker.verify(module.files, base=known, subject="acme/pets/cat")
    assert (known.digest, found.digest) == (base.digest, module.digest)
    assert found.manifest == module.manifest


def test_problems_are_those_that_this_process_would_find(worker: Worker) -> None:
    for sample in samples()[::12]:
        base = None if sample.base is None else worker.verify(sample.base.files)
        with pytest.raises(InvalidPackage) as here:
            verify(sample.files, base=sample.base, subject=sample.name)
        with pytest.raises(InvalidPackage) as there:
            worker.verify(sample.files, base=base, subject=sample.name)
        assert problems_of(there.value) == problems_of(here.value)
        assert str(there.value) == str(here.value)


def test_all_problems_of_a_collection_are_reported_together(tmp_path: Path, worker: Worker) -> None:
    folder = flow.write_collection(pets_packages(), tmp_path / "pets")
    for name in ("cat", "dog"):
        (folder / name / "1.0.0" / "delta.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(InvalidPackage) as caught:
        read_collection(folder, verify=worker.verify)
    assert {problem.file for problem in caught.value.problems} == {
        f"{name}/1.0.0/delta.safetensors" for name in ("cat", "dog")
    }


@needs_limits
def test_a_package_that_wants_too_much_memory_is_named() -> None:
    base, *_ = pets_packages()
    with Worker(Allowance(memory_bytes=1 << 20, memory_factor=0)) as small, pytest.raises(InvalidPackage) as caught:
        small.verify(base.files, subject="mallory/pets/base")
    assert "mallory/pets/base is invalid" in str(caught.value)
    assert "memory" in str(caught.value)


def verify_often(worker: Worker, package: Package) -> None:
    """Let a worker look into a package again and again: the system counts time in whole seconds."""
    for _ in range(1000):
        worker.verify(package.files, subject="mallory/pets/base")


@needs_limits
def test_a_package_that_takes_too_much_time_is_named() -> None:
    base, *_ = pets_packages()
    with Worker(Allowance(cpu_s=0)) as hasty, pytest.raises(InvalidPackage) as caught:
        verify_often(hasty, base)
    assert str(caught.value).startswith("mallory/pets/base is invalid")
    assert "took more than 0 s of processor time" in str(caught.value)


def test_nobody_waits_for_ever() -> None:
    base, *_ = pets_packages()
    with Worker(Allowance(patience_s=0.001)) as slow, pytest.raises(InvalidPackage, match=r"took more than 0 s"):
        slow.verify(base.files, subject="mallory/pets/base")


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows has no such signals")
def test_after_a_crash_the_package_is_named_and_the_process_stays_dead() -> None:
    base, module, *_ = pets_packages()
    with Worker() as worker:
        known = worker.verify(base.files)
        assert worker._process is not None
        os.kill(worker._process.pid, signal.SIGSEGV)
        worker._process.wait()
        with pytest.raises(InvalidPackage, match="mallory/cat is invalid") as caught:
            worker.verify(module.files, base=known, subject="mallory/cat")
        assert "SIGSEGV" in str(caught.value)
        with pytest.raises(InvalidPackage, match="mallory/dog is invalid") as caught:
            worker.verify(module.files, base=known, subject="mallory/dog")
        assert "was not looked into" in str(caught.value)


def test_a_system_that_starts_no_process_is_no_fault_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StorageError, match="cannot start the process"):
        Worker().start()


@needs_limits
def test_the_process_knows_no_token_writes_no_file_and_runs_no_code_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODHUB_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "modhub").mkdir()
    (tmp_path / "json.py").write_text("raise SystemExit('the code of the current folder ran')")
    base, *_ = pets_packages()
    with Worker() as worker:
        worker.verify(base.files)
        assert worker._process is not None
        about = f"/proc/{worker._process.pid}"
        with open(f"{about}/environ", "rb") as file:  # noqa: PTH123
            assert b"secret" not in file.read()
        with open(f"{about}/limits") as file:  # noqa: PTH123
            lines = {line[:25].strip(): line[26:].split()[0] for line in file}
    assert lines["Max file size"] == lines["Max core file size"] == "0"
    assert int(lines["Max cpu time"]) < 120
    assert int(lines["Max address space"]) < 5 << 30


def test_looking_things_up_starts_no_process_and_loads_none_of_it() -> None:
    program = "import sys; import modhub.cli, modhub.workspace; print('modhub.package.worker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
