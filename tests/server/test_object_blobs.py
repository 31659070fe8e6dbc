"""Blobs in an object store keep the same promises as blobs in a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from modhub.errors import StorageError
from modhub.spec.digests import sha256
from modhub_registry.errors import Malformed
from modhub_registry.storage import object_blobs
from modhub_registry.storage.object_blobs import ObjectBlobs
from tests.server.backing import s3
from tests.server.process import SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modhub_registry.storage.blobs import Blob

UPLOAD = "0" * 32


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with s3() as address:
        yield address


@pytest.fixture
def blobs(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectBlobs:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return ObjectBlobs(store, spool=tmp_path / "spool")


def kept(blobs: ObjectBlobs, data: bytes) -> Blob:
    """Keep a content."""
    incoming = blobs.incoming(len(data))
    try:
        incoming.write(data)
        return blobs.keep(incoming)
    finally:
        incoming.discard()


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_what_is_kept_comes_back(blobs: ObjectBlobs, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_blobs, "ONE_PUT_BYTES", 1_000_000)
    data = os.urandom(size)
    assert not blobs.has(sha256(data)) or not size
    for _ in range(2):
        assert kept(blobs, data).sha256 == sha256(data)
    assert b"".join(blobs.read(sha256(data), start=0, length=size)) == data
    assert b"".join(blobs.read(sha256(data), start=size // 3, length=size // 2)) == data[size // 3 :][: size // 2]
    with blobs.as_file(sha256(data)) as path:
        assert path.read_bytes() == data
    assert not path.exists()


def test_a_content_is_put_once(blobs: ObjectBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectBlobs, "has", lambda *_: False)  # As if two servers looked at the same moment.
    for _ in range(2):
        assert kept(blobs, b"at the same moment").size == 18


def test_parts(blobs: ObjectBlobs) -> None:
    digests = []
    for number, data in enumerate((b"one", b"two"), 1):
        incoming = blobs.incoming(3)
        incoming.write(data)
        digests.append(blobs.keep_part(UPLOAD, number, incoming))
        incoming.discard()
    assert b"".join(blobs.parts(UPLOAD, digests)) == b"onetwo"
    assert blobs.clean() == 0
    assert blobs.clean(older_than_s=-60) == 2
    with pytest.raises(Malformed, match="part 1 of the upload is missing"):
        list(blobs.parts(UPLOAD, digests))
    blobs.drop_parts(UPLOAD)


def test_a_store_that_is_not_there_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(object_blobs, "RETRIES", {"max_retries": 0})
    blobs = ObjectBlobs("s3://bucket?endpoint=http://127.0.0.1:9&region=us-east-1", spool=tmp_path)
    with pytest.raises(StorageError, match="the object store refuses"):
        blobs.has("0" * 64)
