"""What only a process of its own can show: what starting costs, interruption, pipes, and the installed command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "import sys; from modhub.cli import main; main()"
LISTING = """
import json, sys
from modhub.cli.main import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
ENGINES = {
    "torch",
    "onnx_ir",
    "onnxruntime",
    "onnxscript",
    "huggingface_hub",
    "jsonschema",
    "rich",
    "PIL",
    "matplotlib",
}


def loaded_by(*words: object, folder: Path) -> set[str]:
    """Return the names of the modules that a command has loaded when it is done."""
    command = [sys.executable, "-c", LISTING, *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    return set(modules)


def environment() -> dict[str, str]:
    """Return the environment of a process that imports the modhub under test."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def test_help_needs_no_numbers(tmp_path: Path) -> None:
    for words in (["--help"], ["decompose", "--help"], ["run", "--help"]):
        assert not loaded_by(*words, folder=tmp_path) & {*ENGINES, "onnx", "numpy", "modhub.flow"}, words


@pytest.mark.parametrize(
    "words",
    [["search", "cat"], ["info", "acme/pets/cat"], ["resolve", "class:cat"], ["resolve", "class:cat", "--explain"]],
)
def test_looking_things_up_needs_no_engine(words: list[str], registry: Path, tmp_path: Path) -> None:
    assert not loaded_by(*words, "-r", registry, folder=tmp_path) & {*ENGINES, "onnx"}


@pytest.mark.parametrize("words", ["search cat", "info acme/pets"])
def test_searching_needs_no_numbers(words: str, registry: Path, tmp_path: Path) -> None:
    assert "numpy" not in loaded_by(*words.split(), "-r", registry, folder=tmp_path)


def test_installing_and_checking_need_no_engine(registry: Path, collection: Path, tmp_path: Path) -> None:
    assert not loaded_by("install", "class:cat", "-r", registry, folder=tmp_path) & ENGINES
    assert not loaded_by("check", collection, folder=tmp_path) & ENGINES


def test_composing_and_running_need_no_torch(collection: Path, data: Path, tmp_path: Path) -> None:
    assert "torch" not in loaded_by("compose", collection, "-o", "out", folder=tmp_path)
    assert "torch" not in loaded_by("run", "out", data, folder=tmp_path)


def test_interrupting_leaves_nothing_behind(data_folder: Path, tmp_path: Path) -> None:
    words = ["decompose", data_folder / "mnist-mlp1-panrajan.onnx", "--data", data_folder / "mnist-test-200.npz"]
    # Tests that a shell runs in the background inherit that they are not to hear an interrupt.
    program = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {PROGRAM}"
    command = [sys.executable, "-c", program, *map(str, words), "-o", "out", "--steps", "1000000"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "masks act on" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip().endswith("modhub: interrupted; nothing half-written was left behind")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_failure(registry: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "search", "-r", str(registry)]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr


def test_debug_shows_where_it_happened(tmp_path: Path) -> None:
    for words, variables in ((["--debug"], {}), ([], {"MODHUB_DEBUG": "1"})):
        command = [sys.executable, "-c", PROGRAM, *words, "check", "nowhere"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment() | variables, capture_output=True, text=True, check=False
        )
        assert "Traceback" in done.stderr


def test_the_exit_code_is_that_of_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "check", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
