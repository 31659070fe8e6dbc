"""Packages in the forms that other tools take."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest

from modhub import flow
from modhub.composer.compose import compose
from modhub.engines.model import Model
from modhub.engines.runtime import Session
from modhub.errors import UsageError
from modhub.package.materialise import network_of
from modhub.package.verify import verify
from tests.support.networks import inputs_for
from tests.support.samples import packages, parts, small_network

if TYPE_CHECKING:
    from modhub.package.package import Package


def models() -> dict[str, Model]:
    """Return a base, a module that is a delta, and a composite, opened."""
    base, cat, *_ = packages("delta")
    both = compose(parts())
    return {
        "base": Model.of_package(base, network_of(base)),
        "delta": Model.of_package(cat, network_of(cat, base)),
        "composite": Model.of_package(both.package, both.network),
    }


@pytest.mark.parametrize("kind", ["base", "delta", "composite"])
def test_one_file_scores_the_same_in_plain_onnx_runtime(kind: str) -> None:
    model = models()[kind]
    (data,) = flow.export(model, to="onnx").values()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = inputs_for(small_network(), batch=3)
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_array_equal(found, Session(model.network).run(x))
    assert json.loads(session.get_modelmeta().custom_metadata_map["modhub.classes"]) == list(model.columns)


@pytest.mark.parametrize("kind", ["base", "delta", "composite"])
def test_a_standalone_package_is_valid_and_needs_nobody(kind: str) -> None:
    model = models()[kind]
    package = verify(flow.export(model, to="standalone"))
    assert package.manifest.dependencies == ()
    assert tuple(package.manifest.forms) == ("standalone",)
    x = inputs_for(small_network(), batch=3)
    np.testing.assert_array_equal(Session(network_of(package)).run(x), Session(model.network).run(x))


def opened(data: bytes) -> dict[str, bytes]:
    """Return the files of a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive.getmembers()}
        return {name: file.read() for name, file in found.items() if file is not None}


def test_an_image_layout_holds_every_file_under_its_digest() -> None:
    model = models()["delta"]
    (data,) = flow.export(model, to="oci").values()
    files = opened(data)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for path, content in files.items():
        if path.startswith("blobs/"):
            assert path == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(files, entry))
    assert blob(files, manifest["config"]) == b"{}"
    layers = {
        layer["annotations"]["org.opencontainers.image.title"]: blob(files, layer) for layer in manifest["layers"]
    }
    expected: Package = verify(flow.export(model, to="standalone"))
    assert layers == dict(expected.files)
    assert flow.export(model, to="oci") == {"package.tar": data}


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """Return what a descriptor points at."""
    data = files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
    assert len(data) == descriptor["size"]
    return data


def test_what_is_no_package_or_no_form_is_refused() -> None:
    plain = Model.of(small_network())
    assert flow.export(plain, to="onnx")
    with pytest.raises(UsageError, match="only packages"):
        flow.export(plain, to="oci")
    with pytest.raises(UsageError, match="the forms are onnx, standalone, oci"):
        flow.export(plain, to="zip")
