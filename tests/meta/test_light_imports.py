"""Starting is fast: what most commands import does not pull in what only some of them need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Seconds on the machine where this was decided: torch 2.7, onnx_ir 0.7, onnxruntime 0.25, jsonschema 0.13.
HEAVY = (
    "torch",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "huggingface_hub",
    "jsonschema",
    "rich",
    "PIL",
    "matplotlib",
    "pyarrow",
)

PROGRAM = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""


def imported_by(*modules: str) -> set[str]:
    """Return the names of all modules that are loaded once these are, in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *modules]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "module",
    ["modhub", "modhub.cli", "modhub.datasets", "modhub.errors", "modhub.hub", "modhub.resolver", "modhub.spec"],
)
def test_starting_loads_nothing_heavy(module: str) -> None:
    assert not imported_by(module).intersection(HEAVY)


def test_the_check_would_notice() -> None:
    assert "PIL" in imported_by("modhub.datasets", "PIL.Image").intersection(HEAVY)


@pytest.mark.parametrize("module", ["modhub.errors", "modhub.spec"])
def test_values_need_no_numpy(module: str) -> None:
    assert "numpy" not in imported_by(module)
