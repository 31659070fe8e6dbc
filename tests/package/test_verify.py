"""What verifying accepts, and that it tells every problem at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import onnx
import pytest

from modhub.errors import FormatError, InvalidPackage
from modhub.package.materialise import network_of
from modhub.package.verify import verify
from modhub.spec import limits
from tests.support.samples import composite, packages, resealed, with_header, with_raw_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.package.package import Package


def problems(files: Mapping[str, bytes], *, base: Package | None = None, form: str | None = None) -> list[str]:
    """Return what verifying some files tells."""
    with pytest.raises(InvalidPackage) as caught:
        verify(files, base=base, form=form)
    return [str(problem) for problem in caught.value.problems]


def header_of(data: bytes) -> bytes:
    """Return the header of a safetensors file."""
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


@pytest.mark.parametrize("forms", [(), ("delta",), ("standalone",)])
@pytest.mark.parametrize("seed", [0, 1])
def test_whatever_is_packed_is_accepted(forms: tuple[str, ...], seed: int) -> None:
    base, *modules = packages(*forms, seed=seed)
    verified = verify(base.files)
    for module in modules:
        assert verify(module.files, base=verified).files == module.files
        assert verify(module.files).manifest == module.manifest


def test_a_composite_is_accepted() -> None:
    assert verify(composite().files).manifest.kind == "composite"


def test_harmless_variety_is_accepted() -> None:
    package = packages("standalone")[1]
    weights, model = package.read("weights.safetensors"), onnx.ModelProto.FromString(package.read("model.onnx"))
    model.metadata_props.add(key="modhub.note", value="anything,\nin lines")
    model.producer_name = "another-tool"
    model.producer_version = "2.1.0"
    for node in model.graph.node:
        node.name = ""
    header = header_of(weights)
    variants: dict[str, dict[str, bytes]] = {
        "a header with blanks at its end": resealed(
            package, _moved(package, with_raw_header(weights, header + b" " * 8), 8)
        ),
        "another tool's graph": resealed(package, {"model.onnx": model.SerializeToString()}),
        "a later minor version": resealed(
            package, edit=lambda d: d.update(format="modhub/manifest@1.9", later={"a": 1})
        ),
        "a file that this version does not know": resealed(package, {"later.bin": b"x"}, edit=_name_later),
    }
    for name, files in variants.items():
        assert verify(files).files == files, name


def _moved(package: Package, weights: bytes, by: int) -> dict[str, bytes | None]:
    model = onnx.ModelProto.FromString(package.read("model.onnx"))
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = str(int(entry.value) + by)
    return {"weights.safetensors": weights, "model.onnx": model.SerializeToString()}


def _name_later(document: dict[str, object]) -> None:
    forms = document["forms"]
    assert isinstance(forms, dict)
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    forms["standalone"].append({"path": "later.bin", "size": 1, "sha256": digest})


def test_every_problem_is_told_at_once() -> None:
    base, package, *_ = packages()
    graph = onnx.ModelProto.FromString(package.read("model.onnx"))
    graph.graph.node[0].doc_string = "/home/me"
    graph.graph.node[1].op_type = "Loop"
    graph.ir_version = 9
    delta = with_header(package.read("delta.safetensors"), lambda header: header["__metadata__"].clear())
    files = resealed(
        package,
        {"model.onnx": graph.SerializeToString(), "delta.safetensors": delta, "README.md": None, "run.sh": b""},
        edit=lambda document: document["output"].update(semantic="scores"),
    )
    assert problems(files, base=base) == [
        "README.md: is named by the manifest but missing",
        "run.sh: is not named by the manifest",
        "module.json: output.semantic: a module has 'logit', not 'scores'",
        "model.onnx: ir_version: expected 10, got 9",
        "model.onnx: graph: 'conv0' carries a doc string or metadata; exporters put local paths there",
        "model.onnx: 'Loop' node 'relu1': uses the operator 'Loop', which is not allowed in packages",
        "delta.safetensors: __metadata__: expected one entry, 'modhub'",
    ]


def test_a_broken_base_is_told_with_graph_and_sites() -> None:
    base = packages()[0]
    sites = json.loads(base.read("sites.json"))
    sites["readers"][0]["axis"] = 3
    sites["arrays"][1]["array"] = "bias"
    files = resealed(
        base, {"sites.json": json.dumps(sites).encode()}, edit=lambda d: d["parent"].update(sha256="0" * 64)
    )
    fingerprint = base.manifest.parent and base.manifest.parent.sha256
    assert problems(files) == [
        f"module.json: parent.sha256: the network's fingerprint is {fingerprint}",
        "sites.json: arrays[1]: no node 'conv0' reads an array 'bias'",
        "sites.json: readers[0]: gives 4 channels for axis 3 of input 0, which does not fit",
    ]


def test_a_thousand_problems_are_cut() -> None:
    package = packages("standalone")[1]
    graph = onnx.ModelProto.FromString(package.read("model.onnx"))
    graph.graph.node.extend(onnx.helper.make_node("Loop", ["image"], [f"l{i}"]) for i in range(1000))
    told = problems(resealed(package, {"model.onnx": graph.SerializeToString()}))
    assert len(told) == limits.PROBLEMS + 1
    assert told[-1] == "and 900 more"


def test_the_error_names_the_package() -> None:
    with pytest.raises(InvalidPackage, match=r"^acme/pets/cat is invalid, 1 problem:\n  - module.json: is missing$"):
        verify({}, subject="acme/pets/cat")


@pytest.mark.parametrize("form", ["delta", "standalone"])
def test_of_a_fetched_form_nothing_else_is_expected(form: str) -> None:
    base, package, *_ = packages()
    names = {record.path for record in package.manifest.forms[form]} | {"module.json"}
    files = {name: data for name, data in package.contents().items() if name in names}
    verified = verify(files, base=base, form=form)
    assert network_of(verified, base).output == "score"
    with_card = files | {"README.md": package.read("README.md")}
    assert verify(with_card, base=base, form=form).files == with_card
    missing = sorted(set(package.files) - names)
    assert problems(files, base=base) == [f"{name}: is named by the manifest but missing" for name in missing]


def test_a_form_that_is_not_there_is_told() -> None:
    package = packages("standalone")[1]
    assert problems(package.contents(), form="delta") == ["module.json: forms: lacks the form 'delta'"]


def test_a_delta_is_no_network_without_its_base() -> None:
    package = packages("delta")[1]
    with pytest.raises(FormatError, match=r"^cat 1.0.0: is a delta and needs its base './base'$"):
        network_of(package)
