"""The public names are the ones announced, in the order of the flow, and each is there."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from pathlib import Path

import pytest

import modhub

VERBS = """
load load_dataset train decompose pack write_collection check publish search info resolve install audit yank deprecate
mirror bundle gather compose patch write_package export run evaluate to_torch
""".split()

VALUES = """
Model Dataset Network TrainOptions Trained DecomposeOptions Decomposition ClassModule Release Package PublishResult
Query SearchResult Info Workspace ResolveOptions Policy Lock Finding Copy Part Composite PatchOptions Patched Evaluation
""".split()

ERRORS = """
ModhubError UsageError FormatError IntegrityError HubError NotFound DecomposeError ResolveError ComposeError
""".split()


def test_the_surface_is_what_we_announce() -> None:
    assert [*VERBS, *VALUES, *ERRORS, "__version__"] == modhub.__all__


@pytest.mark.parametrize("name", [*VERBS, *VALUES, *ERRORS])
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(modhub, name)
    assert inspect.getdoc(value)
    assert callable(value)


def test_every_error_belongs_to_one_family() -> None:
    for name in ERRORS:
        assert issubclass(getattr(modhub, name), modhub.ModhubError)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(modhub.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    names = {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names |= {ast.unparse(node.targets[0]) for node in block.body if isinstance(node, ast.Assign)}
    assert {name for name in names if not name.startswith("_") or name == "__version__"} == set(modhub.__all__)


def test_no_name_is_hidden_by_a_folder_or_file() -> None:
    assert not {module.name for module in pkgutil.iter_modules(modhub.__path__)} & set(modhub.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'decomposition'"):
        modhub.decomposition  # noqa: B018
    assert set(modhub.__all__) <= set(dir(modhub))
