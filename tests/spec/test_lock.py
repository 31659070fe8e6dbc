"""`modhub.lock`."""

from __future__ import annotations

import pytest
from hypothesis import given

from modhub.errors import FormatError
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.lock import Lock, LockedModule
from modhub.spec.manifest import Runtime
from modhub.spec.names import PackageId
from tests import strategies

BASE = LockedModule(
    name="acme/pets/base",
    version="1.0.0",
    kind="base",
    registry="file:///data/modules",
    manifest_sha256=sha256(b"base"),
    form="standalone",
    files=(FileRecord.of("model.onnx", data=b"graph"), FileRecord.of("weights.safetensors", data=b"weights")),
    classes=("cat", "dog"),
    license="MIT",
    why=("acme/pets/cat 1.2.0",),
)
CAT = LockedModule(
    name="acme/pets/cat",
    version="1.2.0",
    kind="module",
    registry="file:///data/modules",
    revision="7",
    manifest_sha256=sha256(b"cat"),
    form="delta",
    files=(FileRecord.of("delta.safetensors", data=b"delta"),),
    depends=("acme/pets/base==1.0.0",),
    parent=sha256(b"parent"),
    classes=("cat",),
    license="MIT",
    why=("class:cat",),
)
TARGET = Runtime(opset={"": 20}, ir_version=10, onnxruntime=">=1.27")
LOCK = Lock(created_by="modhub 0.1.0", requirements=("class:cat",), modules=(BASE, CAT), target=TARGET)


@given(strategies.locks())
def test_a_lock_survives_the_round_trip(lock: Lock) -> None:
    text = lock.to_toml()
    assert Lock.from_toml(text) == lock
    assert Lock.from_dict(lock.to_dict()) == lock
    assert Lock.from_toml(text).to_toml() == text


def test_a_lock_is_text_that_a_person_can_review() -> None:
    assert LOCK.to_toml().startswith(
        'created-by = "modhub 0.1.0"\nlock-version = "1"\nrequirements = [\n    "class:cat",\n]\n'
    )
    assert LOCK.to_toml().count("[[module]]") == 2


def test_a_locked_module_is_found_by_its_package() -> None:
    assert LOCK.get(PackageId.parse("acme/pets/cat")) == CAT
    assert LOCK.get(PackageId.parse("acme/pets/dog")) is None
    assert CAT.package == PackageId.parse("acme/pets/cat")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('lock-version = "1"', 'lock-version = "2"', "lock-version: expected lock version 1, got '2'"),
        ('lock-version = "1"', "", "lock-version: is missing"),
        ('created-by = "modhub 0.1.0"', "created-by = 1", "created-by: expected a string, got 1"),
        ('version = "1.2.0"', 'version = "1.2"', "module[1].version: expected a version like"),
        ('name = "acme/pets/cat"', 'name = "cat"', "module[1].name: expected owner/collection/name"),
        ('name = "acme/pets/cat"', 'name = "acme/pets/a"', "module: expected modules sorted by name, each once"),
        (
            "acme/pets/base==1.0.0",
            "acme/pets/base==2.0.0",
            "module[1].depends: 'acme/pets/base==2.0.0' is not in the lock",
        ),
        ('kind = "base"', 'kind = "x"', "module[0].kind: expected one of base, module, composite; got 'x'"),
        (sha256(b"parent"), "ab", "module[1].parent: expected 64 lower-case hexadecimal digits"),
        ("ir_version = 10", "ir_version = nan", "expected JSON values only"),
        ("ir_version = 10", "ir_version = 2026-11-21", "expected JSON values only"),
        ("ir_version = 10", "ir_version = ", "not TOML"),
        ("ir_version = 10", "deep = " + "[" * 40 + "]" * 40, "is nested deeper than 32 levels"),
        ("ir_version = 10", "deep = " + "[" * 9000 + "]" * 9000, "is nested deeper than 32 levels"),
    ],
)
def test_a_bad_lock_names_the_path(old: str, new: str, problem: str) -> None:
    assert old in LOCK.to_toml()
    with pytest.raises(FormatError) as caught:
        Lock.from_toml(LOCK.to_toml().replace(old, new))
    assert problem in str(caught.value)
