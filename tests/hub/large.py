"""Publishing and fetching a large file in a process of its own, which prints the most memory it took, in bytes.

``python -m tests.hub.large REGISTRY TOKEN BYTES FOLDER``
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from modhub.fsops import Content, LocalFile
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.huggingface import HuggingFaceBackend
from modhub.hub.mirror import release_contents
from modhub.hub.store import Store
from modhub.package.package import Package
from modhub.spec.digests import FileRecord, sha256
from modhub.spec.index import MANIFEST_FILE
from modhub.spec.manifest import Manifest
from tests.faults.peak import peaks
from tests.hub.packages import PETS, module

PIECE = bytes(range(256)) * 4096


def large_package(folder: Path, size: int) -> Package:
    """Return a package with weights of so many bytes."""
    path, sums = folder / "weights", hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size // len(PIECE)):
            piece = number.to_bytes(8, "big") + PIECE[8:]
            file.write(piece)
            sums.update(piece)
    local = LocalFile(path=path, size=path.stat().st_size, sha256=sums.hexdigest())
    document = module().manifest.to_dict()
    graph = module().read("model.onnx")
    record = FileRecord(path="weights.safetensors", size=local.size, sha256=local.sha256)
    document["forms"] = {"standalone": [FileRecord.of("model.onnx", data=graph).to_dict(), record.to_dict()]}
    manifest = Manifest.from_dict(document)
    files: dict[str, Content] = {"model.onnx": graph, record.path: local, MANIFEST_FILE: manifest.to_json()}
    return Package(manifest=manifest, files=files)


def main(registry: str, token: str, size: int, folder: Path) -> int:
    """Publish, fetch, and return the most memory that both took above what the start took."""
    is_server = registry.startswith("http")
    backend = (
        HuggingFaceBackend.of_server(registry).with_token(token) if is_server else DirectoryBackend(Path(registry))
    )
    package = large_package(folder, size)
    before = peaks()[0]
    Client({"it": backend}, store=Store(folder / "publisher")).publish(PETS, [package])
    client = Client({"it": backend}, store=Store(folder / "store"))
    now = client.snapshot(PETS)
    found = release_contents(client, now, now.index.releases)
    (record,) = (file for path, file in found.items() if path.endswith("weights.safetensors"))
    assert sha256(package.manifest.to_json()) == now.index.releases[0].manifest.sha256
    assert client.store.check(record.sha256, size=record.size)
    return peaks()[0] - before


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))  # noqa: T201  The answer.
