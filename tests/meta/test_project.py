"""The project's own files agree with one another."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from modhub._version import __version__

ROOT = Path(__file__).resolve().parents[2]


def project() -> dict[str, Any]:
    """Return the `[project]` table."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def requirements() -> list[Requirement]:
    """Return what modhub and its extras require, its own extras left out."""
    extras = project()["optional-dependencies"].values()
    texts = [*project()["dependencies"], *(text for extra in extras for text in extra)]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "modhub"]


def pins() -> dict[str, Version]:
    """Return the exact versions that `make` installs."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\] - (unreleased|\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert versions[0][0] == __version__
    assert all(state != "unreleased" for _, state in versions[1:])


def test_every_version_we_test_with_is_one_we_allow() -> None:
    pinned = pins()
    for requirement in requirements():
        exact = [clause for clause in requirement.specifier if clause.operator == "=="]
        version = pinned.get(canonicalize_name(requirement.name))
        if exact:
            assert version is None, f"{requirement.name} is pinned twice"
        else:
            assert version is not None, f"{requirement.name} is missing in constraints.txt"
            assert version in requirement.specifier


def test_nothing_is_pinned_that_nobody_requires() -> None:
    assert set(pins()) <= {canonicalize_name(requirement.name) for requirement in requirements()}


def test_installing_modhub_alone_brings_nothing_that_learns_draws_or_serves() -> None:
    names = {canonicalize_name(Requirement(text).name) for text in project()["dependencies"]}
    assert not names & {"torch", "onnxscript", "matplotlib", "pyarrow", "starlette", "uvicorn", "sqlalchemy"}


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE", "modhub/samples/NOTICE"])
def test_licences_are_there_and_named(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0
    assert name in project()["license-files"]


def test_where_the_data_of_the_tests_comes_from_is_told(data_folder: Path) -> None:
    told = (data_folder / "README.md").read_text(encoding="utf-8")
    for file in data_folder.iterdir():
        assert file.name == "README.md" or file.stem in told, file.name


def test_every_network_of_the_tests_names_its_licence(data_folder: Path) -> None:
    for network in data_folder.glob("*.onnx"):
        described = json.loads(network.with_suffix(".json").read_text(encoding="utf-8"))
        assert described["name"] == network.stem
        assert described["license"] in {"MIT", "BSD-2-Clause", "Apache-2.0"}
        assert described["source"]


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE))
    assert {"demo", "test", "lint", "types", "bench", "seed", "clean"} <= targets
