"""The page on the format states every limit with its value and reason, and everything a manifest may hold."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from modhub.package import delta, sites_file
from modhub.package.operators import ALLOWED
from modhub.package.safetensors_reader import DTYPES
from modhub.spec import index, limits, manifest
from modhub.spec.index import Release
from modhub.spec.lock import Lock, LockedModule, Request
from modhub.spec.manifest import ClassLabel, DataSource, Dependency, Manifest, Method, Metric, Parent, Runtime
from modhub.spec.ports import Calibration, InputPort, OutputPort
from modhub.spec.recipe import Policy, Recipe
from tests.support.samples import composite, packages

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
VALUES = (
    Manifest, ClassLabel, InputPort, OutputPort, Calibration, Dependency, Runtime, Parent, Method, DataSource, Metric,
    Release,
)  # fmt: skip


def limit_rows() -> list[str]:
    """Return the rows of the table of limits, made from the constants and the texts below them."""
    source = Path(limits.__file__).read_text(encoding="utf-8")
    body = ast.parse(source).body
    rows = []
    for statement, below in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            (target,) = statement.targets
            assert isinstance(target, ast.Name)
            reason = " ".join(str(below.value.value).split())
            rows.append(f"| `{target.id}` | {getattr(limits, target.id):,} | {reason} |")
    return rows


def test_every_limit_is_on_the_page_with_its_reason() -> None:
    constants = [name for name in vars(limits) if name.isupper()]
    assert len(limit_rows()) == len(constants)
    found = re.findall(r"^\| `[A-Z_]+` \| [\d,]+ \| .* \|$", PAGE, re.MULTILINE)
    assert found == limit_rows()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_every_key_is_on_the_page(value: Any) -> None:
    keys = {field.name for field in dataclasses.fields(value)} - {"extra"}
    missing = sorted(key for key in keys if f"`{key}`" not in PAGE)
    assert not missing


@pytest.mark.parametrize("value", [Lock, LockedModule, Request, Recipe, Policy], ids=lambda value: value.__name__)
def test_every_key_of_locks_and_recipes_is_on_the_page(value: Any) -> None:
    names = {"version": "lock-version", "modules": "module"} if value is Lock else {}
    keys = {names.get(field.name, field.name.replace("_", "-")) for field in dataclasses.fields(value)} - {"extra"}
    missing = sorted(key for key in keys if f"`{key}`" not in PAGE)
    assert not missing


def test_every_key_of_the_sites_is_on_the_page() -> None:
    document = json.loads(packages()[0].read("sites.json"))
    keys = set(document) | {key for part in document.values() if isinstance(part, list) for key in _keys(part)}
    assert not sorted(key for key in keys if f"`{key}`" not in PAGE)


def _keys(part: list[Any]) -> set[str]:
    return {key for entry in part if isinstance(entry, dict) for key in entry}


def test_every_file_of_a_release_is_on_the_page() -> None:
    files = {name for package in (*packages(), composite()) for name in package.files} | {"modhub.json", "modhub.lock"}
    assert not sorted(name for name in files if f"`{name}`" not in PAGE)


def test_every_array_of_a_delta_is_on_the_page() -> None:
    for kind in delta.PARTS:
        assert f"`{kind}/" in PAGE


def test_the_versions_are_those_of_the_code() -> None:
    for version in (manifest.FORMAT, index.FORMAT, delta.FORMAT, sites_file.FORMAT):
        assert f"`{version}`" in PAGE


def test_the_operators_and_element_types_are_those_of_the_code() -> None:
    listed = re.search(r"^Operators: (.*?)\.$", PAGE, re.MULTILINE | re.DOTALL)
    assert listed is not None
    assert re.split(r",\s+", listed[1]) == sorted(ALLOWED)
    assert all(f"`{dtype}`" in PAGE for dtype in DTYPES)


def test_the_schemas_it_names_are_there() -> None:
    for name in re.findall(r"schemas/[a-z.]+json", PAGE):
        assert (ROOT / name).is_file()
