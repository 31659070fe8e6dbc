"""C4: whatever parsers are given, only our own errors come out."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modhub.errors import ModhubError
from modhub.hub.client import Client
from modhub.hub.memory import MemoryBackend
from modhub.hub.store import Store
from modhub.package.delta import read_delta
from modhub.package.graph_reader import read_graph
from modhub.package.safetensors_reader import read_arrays, read_header
from modhub.package.sites_file import sites_from_json
from modhub.spec.index import Index
from modhub.spec.lock import Lock
from modhub.spec.manifest import Manifest
from modhub.spec.names import CollectionId, PackageId, slug
from modhub.spec.recipe import Recipe
from modhub.spec.requirements import parse_requirement, parse_share, parse_size
from modhub.spec.versions import parse_specifier, parse_version
from tests.hub.packages import NOWHERE, PETS, base_package, lock_of, module
from tests.support.figures import size
from tests.support.samples import packages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.figures import Figures

BASE, MODULE = packages()[:2]
RECIPE = """
format = "modhub/recipe@1"
name = "pets"
version = "1.0.0"
requirements = ["acme/pets/cat>=1.2,<2", "class:dog[method=moda,license=MIT]"]
strategy = "trunk"

[registries]
ours = "https://modules.example.org"
"""
PIECES = (
    b"",
    b"{",
    b"[",
    b'"',
    b"\\u0000",
    b"\xff",
    b"null",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"\n",
    b"\x00",
    b"true",
)


def collection() -> tuple[bytes, str]:
    """Return an index and a lock of all it lists."""
    base = base_package()
    client = Client({"it": MemoryBackend()}, store=Store(NOWHERE))
    client.publish(PETS, [base, module(base=base), module("dog", base=base)])
    snapshot = client.snapshot(PETS)
    return snapshot.index.to_json(), lock_of(snapshot).to_toml()


INDEX, LOCK = collection()


def as_text(data: bytes) -> str:
    """Return bytes as a text, as a file in UTF-8 would be."""
    return data.decode("utf-8", "replace")


def arrays_of(data: bytes) -> object:
    """Read the header and the arrays of a safetensors file."""
    return read_arrays(data, read_header(data))


def graph(data: bytes) -> object:
    """Read the graph of the module."""
    return read_graph(data, HEADER, ARRAYS, input_port=MODULE.manifest.input)


WEIGHTS = MODULE.read("weights.safetensors")
HEADER = read_header(WEIGHTS)
ARRAYS = read_arrays(WEIGHTS, HEADER)
PARSERS: dict[str, tuple[Callable[[bytes], object], bytes, int]] = {
    "manifest": (Manifest.from_json, MODULE.read("module.json"), 2_000),
    "index": (Index.from_json, INDEX, 2_000),
    "lock": (lambda data: Lock.from_toml(as_text(data)), LOCK.encode(), 2_000),
    "recipe": (lambda data: Recipe.from_toml(as_text(data)), RECIPE.encode(), 2_000),
    "sites": (sites_from_json, BASE.read("sites.json"), 2_000),
    "header of arrays": (arrays_of, MODULE.read("weights.safetensors"), 2_000),
    "delta": (read_delta, MODULE.read("delta.safetensors"), 2_000),
    "graph": (graph, MODULE.read("model.onnx"), 1_000),
}


def mutant(chance: random.Random, data: bytes) -> bytes:
    """Return bytes with a few of them changed, cut out, repeated, or replaced by what parsers stumble over."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 1, 1, 2, 8, 60)))
        middle = chance.choice((*PIECES, data[start:end] * 2, chance.randbytes(chance.randint(1, 4))))
        data = data[:start] + middle + data[end:]
    return data


def refusal(parse: Callable[[Any], object], data: object) -> str | None:
    """Return what a parser says against a document, None where it takes it."""
    try:
        parse(data)
    except ModhubError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_documents_end_in_our_own_errors(name: str, figures: Figures) -> None:
    parse, good, count = PARSERS[name]
    chance = random.Random(name)  # noqa: S311  No secret.
    parse(good)
    accepted, total = 0, size(count, 100 * count)
    for _ in range(total):
        data = mutant(chance, good)
        told = refusal(parse, data)
        accepted += told is None
        assert told is None or told.replace("\n", "").isprintable(), data
    figures.tell("C4", name, examples=total, accepted=accepted, other_errors=0)


TEXTS: dict[str, Callable[[str], object]] = {
    "requirement": parse_requirement,
    "version": parse_version,
    "specifier": parse_specifier,
    "size": parse_size,
    "share": parse_share,
    "collection": CollectionId.parse,
    "package": PackageId.parse,
    "slug": slug,
    "lock": Lock.from_toml,
    "recipe": Recipe.from_toml,
}
NEAR = st.text(st.sampled_from("acme/pets.-_:[]@<>=!~^, 0123456789rcab*%MBki\n\x00\u0660\u200bé\ud800"), max_size=40)


@settings(max_examples=size(600, 20_000))
@given(text=NEAR | st.text(max_size=60))
@example("acme/pets/cat>=1.2,<2[delta]@sha256:")
@example("9" * 5_000)
@example("[" * 5_000)
def test_texts_end_in_our_own_errors(text: str) -> None:
    for parse in TEXTS.values():
        assert refusal(parse, text) != ""


def test_texts_are_counted(figures: Figures) -> None:
    figures.tell("C4", "texts of people", parsers=len(TEXTS), examples_each=size(600, 20_000), other_errors=0)
