"""`module.json`: the laws, and what is refused with which words."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given

from modhub.errors import FormatError
from modhub.spec import limits
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.manifest import ClassLabel, Dependency, Manifest, Metric, Runtime
from modhub.spec.names import CollectionId
from modhub.spec.ports import InputPort, OutputPort
from tests import strategies

CAT = Manifest(
    kind="module",
    name="cat",
    version="1.0.0",
    summary="Is it a cat?",
    license="BSD-2-Clause",
    created="2026-11-21T00:00:00Z",
    classes=(ClassLabel(name="cat", parent_index=3, wordnet="n02121620", aliases=("Katze",)),),
    input=InputPort(kind="image", dtype="float32", layout="NCHW", shape=("batch", 3, 32, 32), range=(0.0, 1.0)),
    output=OutputPort(name="score", shape=("batch", 1), semantic="logit"),
    provides=("class:cat",),
    dependencies=(Dependency(package="./base", version="==1.0.0", sha256=sha256(b"base")),),
    runtime=Runtime(opset={"": 20}, ir_version=10, onnxruntime=">=1.27"),
    metrics={"f1": Metric(value=0.9, split="test", n=10_000, low=0.88, high=0.92)},
    forms={"delta": (FileRecord.of("delta.safetensors", data=b"delta"),)},
)


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the cat's document with one value replaced; ``None`` removes the key."""
    document: dict[str, Any] = json.loads(CAT.to_json())
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    node: Any = document
    for key in parents:
        node = node[key]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return document


@given(strategies.manifests)
def test_a_manifest_survives_the_round_trip(manifest: Manifest) -> None:
    assert Manifest.from_dict(manifest.to_dict()) == manifest


@given(strategies.manifests)
def test_the_bytes_survive_the_round_trip(manifest: Manifest) -> None:
    data = manifest.to_json()
    assert Manifest.from_json(data).to_json() == data


def test_unknown_keys_survive_at_every_level() -> None:
    document = changed("format", "modhub/manifest@1.7")
    document["signature"] = {"by": ["someone", None]}
    for part in (document["input"], document["classes"][0], document["forms"]["delta"][0], document["metrics"]["f1"]):
        part["later"] = 1.5
    assert Manifest.from_dict(document).to_dict() == document


BAD: dict[str, tuple[str, object, str]] = {
    "another major version": (
        "format",
        "modhub/manifest@2",
        "format: expected modhub/manifest@1, got 'modhub/manifest@2'",
    ),
    "a missing key": ("runtime", None, "runtime: is missing"),
    "an unknown kind": ("kind", "plugin", "kind: expected one of base, module, composite; got 'plugin'"),
    "a path as a name": ("name", "../cat", "name: the package name '../cat' is not lower-case letters and digits"),
    "half a version": ("version", "1.0", "version: expected a version like 1.2.3 or 1.2.3rc1, got '1.0'"),
    "an invented licence": (
        "license",
        "Free",
        "license: expected an SPDX expression like MIT or LicenseRef-Name, got 'Free'",
    ),
    "a licence in lower case": ("license", "mit", "license: expected 'MIT', got 'mit'"),
    "a local time": ("created", "2026-11-21 00:00", "created: expected UTC like 2026-11-21T00:00:00Z"),
    "a day that never comes": ("created", "2026-02-30T00:00:00Z", "created: expected UTC like 2026-11-21T00:00:00Z"),
    "a long summary": ("summary", "x" * 501, "summary: expected at most 500 characters, got 501"),
    "a summary of two lines": ("summary", "a\nb", "summary: expected one line of plain text, got the character U+000A"),
    "a negative size": ("forms.delta.0.size", -1, "forms.delta[0].size: expected a non-negative integer, got -1"),
    "a path to elsewhere": ("forms.delta.0.path", "../a", "forms.delta[0].path: the file name '../a' is not"),
    "no form": ("forms", {}, "forms: expected at least one of delta and standalone"),
    "a list of forms": ("forms", [], "forms: expected an object, got a list"),
    "a delta of nothing": ("dependencies", [], "dependencies: a delta is masks over a base"),
    "a loose local version": (
        "dependencies.0.version",
        ">=1.0.0",
        "dependencies[0].version: expected an exact version",
    ),
    "a nameless dependency": ("dependencies.0.package", "./", "dependencies[0].package: the package name '' is not"),
    "a short digest": ("dependencies.0.sha256", "ab", "dependencies[0].sha256: expected 64 lower-case hexadecimal"),
    "a fraction of an index": (
        "classes.0.parent_index",
        1.5,
        "classes[0].parent_index: expected a non-negative integer, got 1.5",
    ),
    "a nameless class": ("classes.0.name", " ", "classes[0].name: expected a name, got an empty text"),
    "a WordNet id of digits": ("classes.0.wordnet", "123", "classes[0].wordnet: expected an id like n02121620"),
    "a capability without a kind": ("provides.0", "cat", "provides[0]: expected one like class:cat, got 'cat'"),
    "a number as a text": ("metrics.f1.value", "0.9", "metrics.f1.value: expected a finite number, got '0.9'"),
    "a value outside its interval": ("metrics.f1.value", 0.95, "metrics.f1.value: expected an interval around 0.95"),
    "an unknown operator-set version": ("runtime.opset", {"": "20"}, "runtime.opset.''"),
    "a malformed runtime": ("runtime.onnxruntime", "1.27", "runtime.onnxruntime: expected a specifier like"),
    "a card that is a path": (
        "card",
        {"path": "a/README.md", "size": 0, "sha256": sha256(b"")},
        "card.path: the file name 'a/README.md' is not",
    ),
    "an output of another type": ("output.dtype", "int8", "output.dtype: expected float32, got 'int8'"),
}


@pytest.mark.parametrize(("path", "value", "problem"), BAD.values(), ids=BAD)
def test_a_bad_manifest_names_the_path_and_the_value(path: str, value: object, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        Manifest.from_dict(changed(path, value))
    assert problem in str(caught.value)
    assert str(caught.value).startswith(caught.value.where)


@pytest.mark.parametrize(("key", "part"), [("classes", "cat"), ("provides", "class:cat"), ("dependencies", "./base")])
def test_nothing_is_listed_twice(key: str, part: str) -> None:
    document = changed("format", "modhub/manifest@1")
    document[key] *= 2
    with pytest.raises(FormatError, match=f"{key}: '{part}' occurs twice"):
        Manifest.from_dict(document)


def test_a_file_of_two_forms_is_one_file() -> None:
    shared, own = (FileRecord.of(name, data=b"x") for name in ("b.bin", "a.bin"))
    manifest = dataclasses.replace(CAT, forms={"standalone": (shared,), "delta": (shared, own)})
    assert manifest.files == (own, shared)


def test_a_card_is_a_file_that_no_form_needs() -> None:
    card = FileRecord.of("README.md", data=b"# cat")
    manifest = dataclasses.replace(CAT, card=card)
    assert manifest.files == (card, *CAT.files)
    assert card not in manifest.forms["delta"]
    with pytest.raises(FormatError, match=r"card: the file 'Delta.safetensors' is in a form, too"):
        dataclasses.replace(CAT, card=FileRecord.of("Delta.safetensors", data=b"delta"))


@pytest.mark.parametrize("other", [FileRecord.of("a.bin", data=b"y"), FileRecord.of("A.bin", data=b"x")])
def test_one_file_name_never_means_two_contents(other: FileRecord) -> None:
    with pytest.raises(FormatError, match=r"forms: the file '.*' is named in two ways"):
        dataclasses.replace(CAT, forms={"delta": (FileRecord.of("a.bin", data=b"x"),), "standalone": (other,)})


def test_a_release_has_a_limited_number_of_files() -> None:
    files = tuple(FileRecord.of(f"f{number}", data=b"") for number in range(limits.FILES_PER_RELEASE + 1))
    with pytest.raises(FormatError, match="forms: expected at most 64 files"):
        dataclasses.replace(CAT, forms={"delta": files})


def test_a_manifest_has_a_limited_size() -> None:
    with pytest.raises(FormatError, match="expected at most 1048576 bytes"):
        Manifest.from_json(b" " * (limits.MANIFEST_BYTES + 1))


def test_a_dependency_lies_in_its_own_collection_or_where_it_says() -> None:
    pets, mirror = CollectionId("acme", "pets"), CollectionId("mirror", "pets")
    local = Dependency(package="./base", version="==1.0.0", sha256=sha256(b""))
    other = Dependency(package="acme/pets/cat", version="^1.2", sha256=sha256(b""))
    assert str(local.package_in(pets)) == "acme/pets/base"
    assert str(local.package_in(mirror)) == "mirror/pets/base"
    assert str(other.package_in(mirror)) == "acme/pets/cat"


def test_a_metric_promises_the_low_end_of_its_interval() -> None:
    assert Metric(value=0.9).lower_bound == 0.9
    assert Metric(value=0.9, low=0.8, high=0.95).lower_bound == 0.8
