"""What the code imports is declared, where it is needed, and what is declared is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OURS = {"modhub", "modhub_registry", "modhub_example"}
WITH = {
    "anyio": "starlette",
    "cryptography": "model-signing",
    "google": "onnx",
    "markupsafe": "jinja2",
    "referencing": "jsonschema",
}
"""Packages that come with another, of whose interface they are a part."""

NOT_IMPORTED = {
    "httptools": "uvicorn takes it where it is there",
    "uvloop": "uvicorn takes it where it is there",
    "onnxscript": "torch.onnx needs it and does not say so",
    "psycopg": "SQLAlchemy loads it by the address of the database",
    "pyopenssl": "model-signing needs it and does not say so",
}
TOOLS = {"docs", "dev"}
"""Extras that hold programs to run rather than libraries to import."""


def project() -> dict[str, Any]:
    """Return the `[project]` table."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def declared(*extras: str) -> set[str]:
    """Return the names of what modhub requires with some extras, those that these bring included."""
    texts = [*project()["dependencies"]]
    for extra in extras:
        texts += project()["optional-dependencies"][extra]
    found = [Requirement(text) for text in texts]
    inner = [name for requirement in found if requirement.name == "modhub" for name in requirement.extras]
    names = {canonicalize_name(requirement.name) for requirement in found if requirement.name != "modhub"}
    return names | (declared(*inner) if inner else set())


@cache
def imported(folder: Path) -> dict[str, list[str]]:
    """Return what the files of a folder import, by the name of what is imported, with the files."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                found.setdefault(name.partition(".")[0], []).append(str(file.relative_to(ROOT)))
    return {name: files for name, files in found.items() if name not in {*sys.stdlib_module_names, *OURS}}


@cache
def brought() -> dict[str, str]:
    """Return which distribution brings what can be imported; reading all metadata takes a second."""
    return {name: canonicalize_name(found[0]) for name, found in packages_distributions().items()}


def distributions(names: set[str]) -> set[str]:
    """Return the distributions that bring what is imported."""
    return {WITH[name] if name in WITH else brought()[name] for name in names}


def libraries() -> set[str]:
    """Return the extras that bring libraries."""
    return set(project()["optional-dependencies"]) - TOOLS


def test_whatever_modhub_imports_is_declared() -> None:
    for name, files in imported(ROOT / "modhub").items():
        assert distributions({name}) <= declared(*libraries()), f"{name}, imported by {files[0]}"


def test_a_registry_runs_with_the_extra_server_alone() -> None:
    for name, files in imported(ROOT / "registry" / "modhub_registry").items():
        assert distributions({name}) <= declared("server"), f"{name}, imported by {files[0]}"


def test_whatever_is_declared_is_imported_or_says_why_not() -> None:
    used = distributions({*imported(ROOT / "modhub"), *imported(ROOT / "registry" / "modhub_registry")})
    assert declared(*libraries()) - used == set(NOT_IMPORTED)


@pytest.mark.parametrize(("name", "brought_by"), WITH.items())
def test_what_comes_with_another_really_does(name: str, brought_by: str) -> None:
    assert brought()[name] in {canonicalize_name(Requirement(text).name) for text in requires(brought_by) or []}


def test_every_extra_that_a_message_names_is_there() -> None:
    named = set()
    for file in [*(ROOT / "modhub").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        text = file.read_text(encoding="utf-8")
        named |= {extra.strip() for found in re.findall(r"modhub\[([a-z, ]+)\]", text) for extra in found.split(",")}
        named |= set(re.findall(r'extra="([a-z]+)"', text))
    assert named
    assert named <= set(project()["optional-dependencies"])


def test_development_brings_every_extra() -> None:
    assert declared("dev") >= declared(*project()["optional-dependencies"])
