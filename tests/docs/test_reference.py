"""The reference names all there is, and nothing that is not there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import modhub
from modhub import errors, plugins
from modhub.cli.failures import BUG, EXIT_CODES, INTERRUPTED
from modhub.composer.glue import GLUES
from modhub.decomposers import METHODS

DOCS = Path(__file__).parents[2] / "docs"
PYTHON = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
ERRORS = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")


def test_every_public_name_is_in_the_reference() -> None:
    documented = set(re.findall(r":: modhub\.(\w+)$", PYTHON, re.MULTILINE))
    assert documented == set(modhub.__all__) - {"__version__"}


def test_whatever_the_reference_documents_is_there() -> None:
    for path in re.findall(r"^\.\. auto\w+:: (\S+)$", PYTHON, re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_every_exit_code_is_explained_with_its_errors() -> None:
    rows = {int(code): text for code, text in re.findall(r"^\| (\d+) \| (.*) \|$", ERRORS, re.MULTILINE)}
    assert set(rows) == {0, 1, BUG, INTERRUPTED, *(code for _, code in EXIT_CODES)}
    for kind, code in EXIT_CODES:
        assert f"`{kind.__name__}`" in rows[code]


def test_the_errors_that_the_page_names_are_there() -> None:
    named = set(re.findall(r"`([A-Z]\w+(?:Error|Taken|Conflict|Denied|Found|Extra|Plugin|Requirement))`", ERRORS))
    assert {name for name in named if not hasattr(errors, name)} == set()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_explained(name: str) -> None:
    assert f"`{name}`" in (DOCS / "explanation" / "methods.md").read_text(encoding="utf-8")


def test_every_glue_and_group_of_plugins_is_explained() -> None:
    guides = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "howto").glob("*.md"))
    assert [name for name in GLUES if f"`{name}`" not in guides] == []
    example = (DOCS.parent / "examples" / "plugin" / "pyproject.toml").read_text(encoding="utf-8")
    assert [group for group in plugins.GROUPS if f'"{group}"' not in example] == []
