"""The collection that ships with modhub, as it would be uploaded."""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.package.folder import INDEX_FILE
from modhub.package.package import Package
from modhub.spec.digests import sha256
from modhub.spec.index import Index, Release
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SEED = Path(__file__).parents[2] / "registry" / "seed" / "modhub" / "resnet20-cifar10"


@functools.cache
def package(name: str) -> Package:
    """Return a package of the seed, as it is."""
    folder = SEED / name / "1.0.0"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Package(manifest=Manifest.from_json(files["module.json"]), files=files)


def publication(*names: str, on: bytes | None = None) -> dict[str, bytes]:
    """Return the files of a commit that adds packages to a collection with this index, or to none."""
    packages = [package(name) for name in names]
    old = Index() if on is None else Index.from_json(on)
    releases = [Release.of(each.manifest, each.read("module.json")) for each in packages]
    index = old.adding(releases, previous=sha256(old.to_json() if on is None else on))
    files = {INDEX_FILE: index.to_json()}
    for each in packages:
        files |= {f"{each.name}/{each.version}/{path}": data for path, data in each.contents().items()}
    return files


def lines(files: Mapping[str, bytes]) -> Iterable[dict[str, Any]]:
    """Return the lines of a commit that carries files."""
    for path, data in files.items():
        content = base64.b64encode(data).decode()
        yield {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}
