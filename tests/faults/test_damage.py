"""A10, C3, C5: damaged stores and packages; and what our reader accepts, the libraries have to accept too."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load

from modhub.errors import IntegrityError, InvalidPackage, NotFound
from modhub.hub.client import Client
from modhub.hub.memory import MemoryBackend
from modhub.hub.store import Store
from modhub.package.exports import single_file
from modhub.package.materialise import network_of
from modhub.package.verify import verify
from modhub.spec.digests import sha256
from tests.hub.packages import PETS, lock_of, module
from tests.support.figures import size
from tests.support.samples import packages, resealed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from modhub.package.package import Package
    from tests.support.figures import Figures

    Damage = Callable[[random.Random, bytes], bytes]


def flipped(chance: random.Random, data: bytes) -> bytes:
    """Return bytes with one bit changed."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def cut(chance: random.Random, data: bytes) -> bytes:
    """Return bytes without their end."""
    return data[: chance.randrange(len(data))]


def zeroed(chance: random.Random, data: bytes) -> bytes:
    """Return bytes with a block of zeros, as a disk leaves it."""
    start = chance.randrange(len(data))
    return (data[:start] + bytes(min(512, len(data) - start)) + data[start + 512 :])[: len(data)]


def swapped(chance: random.Random, data: bytes) -> bytes:
    """Return bytes with two blocks exchanged."""
    width = max(1, min(64, len(data) // 4))
    first, second = sorted(chance.randrange(len(data) // width) * width for _ in range(2))
    blocks = bytearray(data)
    blocks[first : first + width], blocks[second : second + width] = (
        data[second : second + width],
        data[first : first + width],
    )
    return bytes(blocks[: len(data)])


DAMAGES: tuple[Damage, ...] = (flipped, cut, zeroed, swapped)


def test_a_damaged_store_is_found_at_use_and_filled_again(memory: Path, figures: Figures) -> None:
    chance = random.Random(10)  # noqa: S311  No secret.
    count = size(100, 10_000)
    backend = MemoryBackend(remote=True)
    client = Client({"it": backend}, store=Store(memory / "store"))
    client.publish(PETS, [module(f"m{number}", content=b"weights %d" % number * 20) for number in range(50)])
    lock = lock_of(client.snapshot(PETS))
    first = client.fetch(lock)
    store = client.store
    digests = sorted({record.sha256 for each in lock.modules for record in each.files})
    offline = Client({"it": backend}, store=store, offline=True)
    refused = refetched = 0
    for number in range(count):
        digest = digests[number % len(digests)]
        good = store.path(digest).read_bytes()
        bad = DAMAGES[number % 3](chance, good)
        if bad == good:
            continue
        store.path(digest).write_bytes(bad)
        asked = next(each for each in lock.modules if digest in {record.sha256 for record in each.files})
        if number % 2:
            with pytest.raises((IntegrityError, NotFound), match=r"damaged, and this is offline|not in the store"):
                offline.fetch_module(asked)
            refused += 1
        assert client.fetch_module(asked) == first[asked.name]
        assert store.path(digest).read_bytes() == good
        refetched += 1
    figures.tell("A10", "store", damaged=refetched, refused_offline=refused, refetched=refetched, served=0)


@functools.cache
def good() -> tuple[Package, Package]:
    """Return a base and a module cut out of it."""
    base, module, *_ = packages()
    return base, module


def test_damaged_copies_are_refused_by_the_name_of_the_file(figures: Figures) -> None:
    chance = random.Random(3)  # noqa: S311  No secret.
    count = size(600, 50_000)
    base, package = good()
    refused = 0
    for number in range(count):
        name = sorted(package.files)[number % len(package.files)]
        bad = DAMAGES[number % len(DAMAGES)](chance, package.read(name))
        if bad == package.read(name):
            continue
        if name == "module.json":
            # Nothing inside a manifest says what it should be: its digest in index and lock does.
            assert sha256(bad) != package.digest
            refused += 1
            continue
        with pytest.raises(InvalidPackage, match=name.replace(".", r"\.")):
            verify({**package.files, name: bad}, base=base)
        refused += 1
    figures.tell("C3", "one file damaged", copies=refused, refused=refused, crashed=0)


def test_what_is_accepted_the_libraries_accept_too(figures: Figures) -> None:
    """Digests are put right after the damage, so that only what the bytes say can be refused."""
    chance = random.Random(5)  # noqa: S311  No secret.
    count = size(1_000, 200_000)
    base, package = good()
    names = ["model.onnx", "weights.safetensors", "delta.safetensors"]
    accepted = refused = 0
    for number in range(count):
        name = names[number % len(names)]
        bad = DAMAGES[number // len(names) % len(DAMAGES)](chance, package.read(name))
        files = resealed(package, {name: bad})
        try:
            found = verify(files, base=base)
        except InvalidPackage:
            refused += 1
            continue
        accepted += 1
        check_with_the_libraries(found, files, name)
    assert accepted > 0
    figures.tell("C5", "resealed mutants", tried=count, refused=refused, accepted=accepted, refused_by_libraries=0)
    figures.tell(
        "C3", "one file damaged, digests put right", copies=count, refused=refused, accepted=accepted, crashed=0
    )


def check_with_the_libraries(found: Package, files: Mapping[str, bytes], changed: str) -> None:
    """Check that safetensors, the checker of ONNX and ONNX Runtime read what we accepted, and the same."""
    network = network_of(found)
    if changed == "delta.safetensors":
        load(files[changed])
        return
    arrays = load(files["weights.safetensors"])
    for name, array in network.arrays.items():
        if name in arrays:
            np.testing.assert_array_equal(array, arrays[name])
    one = single_file(network, classes=("cat",))
    onnx.checker.check_model(onnx.load_model_from_string(one), full_check=True)
    session = onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"])
    image = np.zeros((1, *map(int, network.input.shape[1:])), dtype=np.float32)
    (scores,) = session.run(None, {session.get_inputs()[0].name: image})
    assert scores.shape == (1, 1)
