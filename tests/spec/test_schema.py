"""The schemas: every value has their shape, and what they refuse the readers refuse too."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from modhub.errors import FormatError
from modhub.spec.schema import NAMES, load_schema, validate
from tests import strategies
from tests.spec.test_manifest import BAD, CAT, changed

if TYPE_CHECKING:
    from modhub.spec.index import Index
    from modhub.spec.lock import Lock
    from modhub.spec.manifest import Manifest


# These need more than a shape: another field, the list of licences, or numbers that are compared.
BEYOND_SHAPE = {
    "an invented licence",
    "a licence in lower case",
    "a delta of nothing",
    "a loose local version",
    "a day that never comes",
    "a nameless class",
    "a value outside its interval",
    "a malformed runtime",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_carries_its_name(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"modhub/{name}@1"


@given(strategies.manifests)
def test_every_manifest_has_the_shape(manifest: Manifest) -> None:
    assert validate(manifest.to_dict(), "manifest") == []


@given(strategies.indexes())
def test_every_index_has_the_shape(index: Index) -> None:
    assert validate(index.to_dict(), "index") == []


@given(strategies.locks())
def test_every_lock_has_the_shape(lock: Lock) -> None:
    assert validate(tomllib.loads(lock.to_toml()), "lock") == []


@pytest.mark.parametrize(("path", "value", "problem"), [BAD[name] for name in sorted(BAD.keys() - BEYOND_SHAPE)])
def test_a_bad_shape_is_found_where_the_reader_finds_it(path: str, value: object, problem: str) -> None:
    where = {error.where for error in validate(changed(path, value), "manifest")}
    expected = problem.partition(":")[0]
    assert expected in where or ("is missing" in problem and where == {""})


def test_all_problems_are_found_at_once() -> None:
    document = CAT.to_dict() | {"name": "Cat", "version": "1", "kind": "x"}
    assert [error.where for error in validate(document, "manifest")] == ["kind", "name", "version"]


def test_an_unknown_schema_is_refused() -> None:
    for name in ("recipes", "../schemas/manifest", ""):
        with pytest.raises(FormatError, match="expected one of manifest, index, lock, recipe"):
            validate({}, name)
