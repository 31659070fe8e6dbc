"""The JSON Schemas: the truth on the shape of manifest, index, lock and recipe.

The readers in this folder are stricter about values (licences, versions, names); a schema is what other programs can
use. Every document that a reader accepts has the shape of its schema.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.errors import FormatError
from modhub.spec.document import PLAIN_KEY, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema import Draft202012Validator, ValidationError

NAMES = ("manifest", "index", "lock", "recipe")

# An installed wheel holds the schemas inside the package; a checkout, and so an editable install, beside it.
FOLDERS = (Path(__file__).parents[1] / "_schemas", Path(__file__).parents[2] / "schemas")


def load_schema(name: str) -> dict[str, Any]:
    """Return a schema by name: ``manifest``, ``index``, ``lock`` or ``recipe``.

    Raises:
        FormatError: there is no schema of that name.
    """
    for folder in FOLDERS:
        file = folder / f"{name}.schema.json"
        if name.isidentifier() and file.is_file():
            schema: dict[str, Any] = json.loads(file.read_bytes())
            return schema
    raise FormatError(f"expected one of {', '.join(NAMES)}; got {shown(name)}", where="schema")


def validate(document: object, schema_name: str) -> list[FormatError]:
    """Return every problem of a document's shape, sorted by path; none means that it fits.

    Raises:
        FormatError: there is no schema of that name.
    """
    errors = [
        FormatError(_cut(cause.message), where=_where(cause.absolute_path))
        for error in _validator(schema_name).iter_errors(document)
        for cause in _causes(error)
    ]
    return sorted(errors, key=str)


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    # jsonschema takes 0.13 s to import; reading a lock or an index must not pay for it.
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    resources = [(schema["$id"], Resource.from_contents(schema)) for schema in map(load_schema, NAMES)]
    return Draft202012Validator(load_schema(name), registry=Registry().with_resources(resources))


def _causes(error: ValidationError) -> Iterator[ValidationError]:
    """Yield what is wrong with the value itself, where an optional key has one: its other choice is always null."""
    choices = error.validator_value if error.validator == "anyOf" else None
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        yield error
        return
    for cause in error.context or ():
        if cause.relative_schema_path[0] == 0:
            yield from _causes(cause)


def _where(path: Iterable[str | int]) -> str:
    error = FormatError("")
    for key in reversed(list(path)):
        plain = isinstance(key, int) or PLAIN_KEY.fullmatch(key)
        error = error.under(f"[{key}]" if isinstance(key, int) else key if plain else shown(key))
    return error.where


def _cut(message: str) -> str:
    return message if len(message) <= 200 else message[:197] + "..."
