"""Packages in the forms that other tools take: one ONNX file, a package that needs no base, an OCI image layout."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from typing import TYPE_CHECKING

from modhub.errors import UsageError
from modhub.network.onnx_file import WEIGHTS_FILE, to_model, to_onnx
from modhub.package.pack import record, seal
from modhub.package.package import CARD_FILE, GRAPH_FILE, MANIFEST_FILE
from modhub.spec.digests import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.network.network import Network
    from modhub.package.package import Package

CLASSES_ENTRY = "modhub.classes"
"""Metadata of the graph: the class that each column scores, a JSON list."""
MOST_BYTES = 2**31 - 1
"""A protobuf message cannot be larger."""

ARTIFACT = "application/vnd.modhub.package.v1"
LAYER = "application/octet-stream"
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def single_file(network: Network, *, classes: Sequence[str]) -> bytes:
    """Return a network as one ONNX file with its weights inside, and the names of its columns in the metadata.

    Raises:
        UsageError: it is too large for one file.
    """
    entries = {**network.metadata, CLASSES_ENTRY: json.dumps(list(classes))}
    size = sum(array.nbytes for array in network.arrays.values())
    if size > MOST_BYTES:
        raise UsageError(f"{size} bytes of weights are more than one ONNX file can hold, {MOST_BYTES}: use standalone")
    return to_model(network.replace(metadata=entries)).SerializeToString(deterministic=True)


def standalone(package: Package, network: Network) -> Package:
    """Return a package that computes the same and depends on no base.

    Args:
        package: a base, module or composite.
        network: what it computes.
    """
    graph, weights = to_onnx(network)
    own = {record.path for records in package.manifest.forms.values() for record in records}
    rest = {path: package.read(path) for path in package.files if path not in own | {MANIFEST_FILE, CARD_FILE}}
    kept = {record.path for record in package.manifest.forms.get("standalone", ())}
    files = {path: package.read(path) for path in kept if path in package.files}
    files |= {GRAPH_FILE: graph, WEIGHTS_FILE: weights, **rest}
    forms = {"standalone": tuple(record(path, data) for path, data in sorted(files.items()))}
    return seal(dataclasses.replace(package.manifest, forms=forms, dependencies=()), files)


def oci_layout(package: Package) -> bytes:
    """Return a package as an OCI image layout in a tar file, for `oras`, `skopeo` and registries of containers.

    Each file is a layer titled with its name, as `oras push` makes them (OCI image specification 1.1). Equal packages
    give equal bytes.
    """
    contents = package.contents()
    blobs = {_digest(data): data for data in (EMPTY, *contents.values())}
    about = package.manifest
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT,
            "config": _descriptor(EMPTY, EMPTY_TYPE),
            "layers": [
                _descriptor(data, LAYER, {"org.opencontainers.image.title": path})
                for path, data in sorted(contents.items())
            ],
            "annotations": {
                "org.opencontainers.image.created": about.created,
                "org.opencontainers.image.description": about.summary,
                "org.opencontainers.image.licenses": about.license,
                "org.opencontainers.image.title": about.name,
                "org.opencontainers.image.version": about.version,
            },
        }
    )
    blobs[_digest(manifest)] = manifest
    entry = _descriptor(manifest, MANIFEST_TYPE, {"org.opencontainers.image.ref.name": about.version})
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [{**entry, "artifactType": ARTIFACT}]}
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        **{f"blobs/sha256/{digest.removeprefix('sha256:')}": blobs[digest] for digest in sorted(blobs)},
    }
    return _tar(files)


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data)}"


def _descriptor(data: bytes, kind: str, annotations: Mapping[str, str] | None = None) -> dict[str, object]:
    found: dict[str, object] = {"mediaType": kind, "digest": _digest(data), "size": len(data)}
    return {**found, "annotations": dict(annotations)} if annotations else found


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _tar(files: Mapping[str, bytes]) -> bytes:
    """Return files as a tar archive without times and owners."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
