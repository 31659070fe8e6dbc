"""Hostile packages: each is valid but for one thing, and digests are right, so that the reader has to look inside.

    for sample in samples():
        verify(sample.files, base=sample.base)  # raises InvalidPackage, and says `sample.problem`

Run as a program, it lets `verify` refuse all of them and prints how many; the tests do that under hard limits.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.spec import limits
from tests.support.hostile_graphs import CODE, PICKLE, hostile_graphs
from tests.support.samples import composite, delta_file, packages, resealed, with_header, with_raw_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modhub.package.package import Package
    from tests.support.hostile_graphs import Edit


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Files that are no package, and words that the refusal must hold."""

    group: str
    name: str
    files: Mapping[str, bytes]
    problem: str
    base: Package | None = None

    @property
    def id(self) -> str:
        """How a test is called."""
        return f"{self.group}: {self.name}"


def samples() -> list[Sample]:
    """Return the corpus; the same every time."""
    return [*_weights(), *_graphs(), *_manifests(), *_deltas(), *_sites()]


def _weights() -> Iterator[Sample]:
    package = packages("standalone")[1]
    good = package.read("weights.safetensors")
    first = b'"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}'
    raw = {
        "two bytes": (b"{}", "too short for a safetensors file"),
        "a pickle": (PICKLE, "announces a header of"),
        "a header longer than the file": ((2**40).to_bytes(8, "little") + good[8:], "announces a header of"),
        "no header": (bytes(8) + good[8:], "announces a header of 0 bytes"),
        "a header of 9 EB": (b"\xff" * 8 + good[8:], "announces a header of 18446744073709551615 bytes"),
        "a header that begins with a blank": (with_raw_header(good, b" {}"), "does not start with '{'"),
        "a list as a header": (with_raw_header(good, b"[1, 2]"), "does not start with '{'"),
        "half a header": (with_raw_header(good, b'{"a": '), "not JSON"),
        "a header that is no UTF-8": (with_raw_header(good, b'{"\xff": 1}'), "expected UTF-8"),
        "a name twice": (with_raw_header(good, b"{" + first + b"," + first + b"}"), "occurs twice in one object"),
        "a deep header": (with_raw_header(good, b'{"a":' * 60_000 + b"1" + b"}" * 60_000), "nested deeper than"),
        "a long number": (with_raw_header(good, b'{"a": ' + b"9" * 6000 + b"}"), "integers below 2**53"),
        "NaN in a header": (with_raw_header(good, b'{"a": {"dtype": "F32", "shape": [NaN]}}'), "expected finite"),
        "bytes behind the last array": (good + b"PK\x03\x04", "has 4 bytes after its last array"),
        "5,001 arrays": (
            with_raw_header(good, json.dumps({f"a{i}": {} for i in range(5001)}).encode()),
            "holds 5001 arrays",
        ),
    }
    for name, (data, problem) in raw.items():
        yield _sample("weights", name, package, "weights.safetensors", data, problem)
    edits: dict[str, tuple[Edit, str]] = {
        "overlapping arrays": (_moved_onto_each_other, "overlap or leave a gap"),
        "a gap": (lambda h: h.pop("array1"), "overlap or leave a gap"),
        "an unknown element type": (lambda h: h["array0"].update(dtype="F8_E4M3"), "array0.dtype: expected one of F32"),
        "a list as an element type": (lambda h: h["array0"].update(dtype=["F32"]), "array0.dtype: expected one of F32"),
        "nine dimensions": (lambda h: h["array0"].update(shape=[1] * 9), "array0: has the shape"),
        "a negative dimension": (lambda h: h["array0"].update(shape=[-2, -54]), "array0.shape[0]: expected a non-neg"),
        "a large nothing": (lambda h: h["array0"].update(shape=[0, 2**50]), "array0: has the shape"),
        "three offsets": (lambda h: h["array0"].update(data_offsets=[0, 1, 2]), "array0: has the range [0, 1, 2]"),
        "too few bytes": (lambda h: h["array0"].update(data_offsets=[0, 4]), "array0: has the range [0, 4]"),
        "a further key": (lambda h: h["array0"].update(code=1), "array0: expected dtype, shape and data_offsets only"),
        "a number as metadata": (lambda h: h.update(__metadata__={"a": 1}), "__metadata__.a: expected a string"),
        "a nameless array": (lambda h: h.update({"": h.pop("array0")}), "the array name '' is not"),
        "a name with a path on Windows": (_renamed("C:\\array0"), "the array name 'C:\\\\array0' is not"),
        "a name with NUL": (_renamed("array0\0"), "the array name 'array0\\x00' is not"),
        "a name of 201 letters": (_renamed("a" * 201), "is not 1 to 200 letters"),
        "a name that is code": (_renamed(CODE), "is not 1 to 200 letters"),
        "an array that the graph lacks": (_renamed("other"), "other: is not used by the graph"),
    }
    for name, (edit, problem) in edits.items():
        yield _sample("weights", name, package, "weights.safetensors", with_header(good, edit), problem)
    for name, number in (("NaN", np.nan), ("infinity", -np.inf)):
        data = good[:-4] + np.float32(number).tobytes()
        yield _sample("weights", name, package, "weights.safetensors", data, "holds NaN or infinity")
    golden = composite().read("golden.safetensors")[:-4]
    yield _sample("weights", "a golden pair cut off", composite(), "golden.safetensors", golden, "has -4 bytes after")


def _moved_onto_each_other(header: Any) -> None:
    start, end = header["array1"]["data_offsets"]
    header["array1"]["data_offsets"] = [0, end - start]


def _renamed(name: str) -> Edit:
    return lambda header: header.update({name: header.pop("array0")})


def _graphs() -> Iterator[Sample]:
    package = packages("standalone")[1]
    for name, data, problem in hostile_graphs(package.read("model.onnx")):
        yield _sample("graph", name, package, "model.onnx", data, problem)


def _manifests() -> Iterator[Sample]:
    package, base = packages()[1], packages()[0]
    good = package.contents()

    def raw(name: str, data: bytes | None, problem: str) -> Sample:
        files = {key: value for key, value in {**good, "module.json": data}.items() if value is not None}
        return Sample(group="manifest", name=name, files=files, problem=problem)

    text = good["module.json"]
    yield raw("none", None, "module.json: is missing")
    yield raw("no JSON", b"%PDF-1.4", "module.json: not JSON")
    yield raw("a key twice", text.replace(b'"kind"', b'"kind": "base", "kind"', 1), "the key 'kind' occurs twice")
    yield raw("NaN", text.replace(b'"scale": 1.25', b'"scale": NaN'), "expected finite numbers")
    yield raw("an infinite number", text.replace(b'"scale": 1.25', b'"scale": 1e999'), "expected finite numbers")
    yield raw("a deep one", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 32 levels")
    yield raw("2 MiB", b" " * (2 << 20), "expected at most 1048576 bytes")
    yield raw("a surrogate", b'{"a": "\\ud800"}', "lone surrogate")
    for name, (edit, problem) in _manifest_edits().items():
        yield Sample(group="manifest", name=name, files=resealed(package, edit=edit), problem=problem)
    for name, (changes, edit, problem) in _file_edits(package).items():
        document = resealed(package, changes, edit=edit)
        yield Sample(group="manifest", name=name, files=document, problem=problem)
    changed = {**good, "README.md": b"# Something else"}
    yield Sample(group="manifest", name="another card", files=changed, problem="README.md: is 16 bytes long")
    same = {**good, "weights.safetensors": good["weights.safetensors"][:-4] + b"\0\0\0\0"}
    yield Sample(group="manifest", name="a changed bit", files=same, problem="weights.safetensors: has sha256")
    yield Sample(
        group="manifest",
        name="another base's fingerprint",
        files=resealed(base, edit=lambda d: d["parent"].update(sha256="0" * 64)),
        problem="module.json: parent.sha256: the network's fingerprint is",
    )
    yield Sample(
        group="manifest",
        name="a base without sites",
        files=resealed(base, edit=lambda d: _drop(d, "standalone", "sites.json")),
        problem="module.json: forms.standalone: names no sites.json",
    )
    for kind in ("base", "composite"):
        target = base if kind == "base" else composite()

        def as_delta(document: Any) -> None:
            document["forms"]["delta"] = document["forms"].pop("standalone")
            document["dependencies"] = json.loads(package.read("module.json"))["dependencies"]

        problem = f"a {kind} needs the form 'standalone'"
        yield Sample(
            group="manifest", name=f"a {kind} as delta", files=resealed(target, edit=as_delta), problem=problem
        )
    other = packages(network_seed=1)[0]
    yield Sample(
        group="manifest",
        name="a dependency on another base",
        files=good,
        base=other,
        problem="dependencies: depends on no package with the manifest",
    )
    twin = packages(seed=2)[1]
    yield Sample(
        group="manifest",
        name="two forms that differ",
        files=resealed(package, {"delta.safetensors": twin.read("delta.safetensors")}),
        base=base,
        problem="gives another network than the form 'standalone'",
    )


def _drop(document: Any, form: str, path: str) -> None:
    document["forms"][form] = [record for record in document["forms"][form] if record["path"] != path]


def _manifest_edits() -> dict[str, tuple[Edit, str]]:
    def path(text: str) -> Edit:
        return lambda document: document["forms"]["delta"][0].update(path=text)

    return {
        "another major version": (lambda d: d.update(format="modhub/manifest@2"), "format: expected modhub/manifest@1"),
        "a path upwards": (path("../delta.safetensors"), "forms.delta[0].path: the file name"),
        "an absolute path": (path("/etc/passwd"), "forms.delta[0].path: the file name"),
        "a path on Windows": (path("C:\\x"), "forms.delta[0].path: the file name"),
        "a folder": (path("a/b"), "forms.delta[0].path: the file name"),
        "a device": (path("aux.safetensors"), "names a device on Windows"),
        "the manifest as a file": (path("module.json"), "module.json"),
        "two names but for case": (path("MODEL.onnx"), "is named in two ways"),
        "a size of 2 TiB": (
            lambda d: d["forms"]["delta"][0].update(size=2**41),
            "forms.delta[0].size: expected at most",
        ),
        "another size": (lambda d: d["forms"]["delta"][0].update(size=1), "the manifest says 1"),
        "another digest": (lambda d: d["forms"]["delta"][0].update(sha256="0" * 64), "has sha256"),
        "two classes": (lambda d: d["classes"].append({"name": "dog"}), "classes: there are 2 for an output"),
        "no class": (lambda d: d.update(classes=[]), "classes: there are 0 for an output"),
        "two classes and columns": (_two_columns, "classes: a module scores one class, not 2"),
        "another kind": (
            lambda d: d.update(kind="composite"),
            "output.semantic: a composite has 'scores', not 'logit'",
        ),
        "another semantic": (lambda d: d["output"].update(semantic="logits"), "a module has 'logit', not 'logits'"),
        "another output name": (lambda d: d["output"].update(name="logits"), "makes score ['batch', 1], declared is"),
        "another input shape": (lambda d: d["input"].update(shape=["batch", 3, 9, 9]), "graph.input: takes"),
        "another input name": (lambda d: d["input"].update(name="x"), "graph.input: takes"),
        "another opset": (lambda d: d["runtime"].update(opset={"": 21}), "runtime: expected opset 20"),
        "another IR version": (lambda d: d["runtime"].update(ir_version=9), "runtime: expected opset 20"),
        "an unknown form": (lambda d: d["forms"].update(zip=[]), "forms: the form 'zip' is unknown"),
        "a form without a graph": (
            lambda d: _drop(d, "standalone", "model.onnx"),
            "forms.standalone: names no model.o",
        ),
        "a form without masks": (lambda d: _drop(d, "delta", "delta.safetensors"), "forms.delta: names no delta.safe"),
        "another row": (
            lambda d: d["classes"][0].update(parent_index=1),
            "row: scores row 0, 'cat'; the manifest says",
        ),
        "another label": (lambda d: d["classes"][0].update(name="lion"), "row: scores row 0, 'cat'; the manifest says"),
        "another parent": (lambda d: d["parent"].update(sha256="0" * 64), "parent.sha256: the delta was made for"),
        "no parent": (lambda d: d.pop("parent"), "parent.sha256: the delta was made for"),
        "a card of another name": (lambda d: d["card"].update(path="CARD.md"), "CARD.md: is named by the manifest but"),
        "no card": (lambda d: d.pop("card"), "README.md: is not named by the manifest"),
    }


def _two_columns(document: Any) -> None:
    document["classes"].append({"name": "dog"})
    document["output"]["shape"][1] = 2


def _file_edits(package: Package) -> dict[str, tuple[Mapping[str, bytes | None], Edit, str]]:
    def nothing(document: object) -> None:
        del document

    extra = dict.fromkeys(["run.sh"], b"#!/bin/sh")
    return {
        "a file that is not named": (extra, nothing, "run.sh: is not named by the manifest"),
        "a file with an odd name": ({"\x1b[2J": b""}, nothing, "'\\x1b[2J': is not named by the manifest"),
        **{
            f"no {name}": ({name: None}, nothing, f"{name}: is named by the manifest but missing")
            for name in sorted(set(package.files) - {"module.json"})
        },
    }


def _deltas() -> Iterator[Sample]:
    base, package = packages("delta")[:2]
    head = {"first": (10, 3), "first.bias": (10,), "second": (1, 10), "second.bias": (1,)}
    mlp = {f"head/{name}": np.zeros(shape, np.float32) for name, shape in head.items()}
    kept = {"keep/array0": np.array([0, 2], np.uint32)}
    floats, bits = np.ones(2, np.float32), np.full(14, 255, np.uint8)
    scaled = {**kept, "scale/array0": floats, "offset/array0": floats}
    not_fitting = "that are not ascending numbers below 4"
    files: dict[str, tuple[bytes, str]] = {
        "channels as signed numbers": (delta_file({"keep/array0": np.array([-1])}), "keep/array0: is int64"),
        "channels as floats": (delta_file({"keep/array0": floats}), "keep/array0: is float32"),
        "channels in a square": (
            delta_file({"keep/array0": np.ones((1, 1), np.uint32)}),
            "keep/array0: is uint32 of 2",
        ),
        "a channel beyond the last": (delta_file({"keep/array0": np.array([4], np.uint32)}), not_fitting),
        "a channel beyond 2^31": (delta_file({"keep/array0": np.array([2**32 - 1], np.uint32)}), not_fitting),
        "channels in another order": (delta_file({"keep/array0": np.array([2, 0], np.uint32)}), not_fitting),
        "a channel twice": (delta_file({"keep/array0": np.array([1, 1], np.uint32)}), not_fitting),
        "no channel": (delta_file({"keep/array0": np.array([], np.uint32)}), not_fitting),
        "more channels than there are": (delta_file({"keep/array0": np.arange(9, dtype=np.uint32)}), not_fitting),
        "an unknown site": (delta_file({"keep/array99": np.array([0], np.uint32)}), "has no site 'array99'"),
        "a site that cannot be cut": (delta_file({"keep/array10": np.array([0], np.uint32)}), "which cannot be cut"),
        "another base": (delta_file(kept, base="0" * 64), "parent.sha256: the delta was made for the network"),
        "another format": (delta_file(kept, format="modhub/delta@2"), "format: expected modhub/delta@1"),
        "no row": (delta_file(kept, row=None), "__metadata__.modhub.row: is missing"),
        "a row as text": (delta_file(kept, row="0"), "__metadata__.modhub.row: expected a non-negative integer"),
        "a row beyond the last": (delta_file(kept, row=3), "row: scores row 3, 'cat'"),
        "an unknown head": (delta_file(kept, head="code"), "__metadata__.modhub.head: expected one of own, mlp"),
        "a head without arrays": (delta_file(kept, head="mlp"), "head: needs the arrays first"),
        "a head for ten classes": (
            delta_file({**mlp, "head/first": np.zeros((10, 10), np.float32)}, head="mlp"),
            "head: has the shapes",
        ),
        "a head of integers": (
            delta_file({**mlp, "head/first": np.zeros((10, 3), np.int64)}, head="mlp"),
            "head/first: is int64",
        ),
        "a head that nobody asked for": (delta_file(mlp), "head/first: has no meaning in a delta"),
        "an unknown array": (delta_file({"code/array0": floats}), "code/array0: has no meaning in a delta"),
        "an array of no kind": (delta_file({"keep": floats}), "keep: has no meaning in a delta"),
        "three scales for two channels": (
            delta_file({**scaled, "scale/array0": np.ones(3, np.float32)}),
            "array0: has 3 scales and 2 offsets for 2 kept channels",
        ),
        "one scale for two channels": (
            delta_file({**scaled, "scale/array0": np.ones(1, np.float32)}),
            "array0: has 1 scales and 2 offsets for 2 kept channels",
        ),
        "a scale alone": (delta_file({"scale/array0": floats}), "array0: has a scale without an offset"),
        "a scale of no layer": (delta_file({"scale/x": floats, "offset/x": floats}), "has no layer 'x'"),
        "a scale that is NaN": (delta_file({**scaled, "scale/array0": floats * np.nan}), "holds NaN or infinity"),
        "bits of no array": (delta_file({"bits/x": bits}), "bits: masks 'x', no array of the base"),
        "too few bits": (delta_file({"bits/array0": bits[:13]}), "bits/array0: holds uint8 [13] for 108 bits"),
        "bits behind the last": (delta_file({"bits/array0": bits}), "bits/array0: has bits behind the last element"),
        "bits as flags": (delta_file({"bits/array0": floats}), "bits/array0: is float32"),
        "no words": (with_header(delta_file(kept), lambda h: h.pop("__metadata__")), "expected one entry, 'modhub'"),
        "further words": (
            with_header(delta_file(kept), lambda h: h["__metadata__"].update(pt="1")),
            "__metadata__: expected one entry, 'modhub'",
        ),
        "words with a key twice": (
            with_header(delta_file(kept), lambda h: h["__metadata__"].update(modhub='{"row": 0, "row": 1}')),
            "the key 'row' occurs twice",
        ),
        "a pickle": (PICKLE, "announces a header of"),
    }
    for name, (data, problem) in files.items():
        yield _sample("delta", name, package, "delta.safetensors", data, problem, base=base)


def _sites() -> Iterator[Sample]:
    base = packages()[0]
    good = base.read("sites.json")
    raw = {
        "no JSON": (b"(0)", "sites.json: not JSON"),
        "a deep document": (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 32 levels"),
        "a key twice": (good.replace(b'"parts"', b'"parts":[],"parts"'), "the key 'parts' occurs twice"),
        "NaN": (good.replace(b'"size":4', b'"size":NaN'), "expected finite numbers"),
        "a list": (b"[]", "sites.json: expected an object, got a list"),
        "more bytes than allowed": (b" " * (limits.SITES_BYTES + 1), f"at most {limits.SITES_BYTES} are allowed"),
    }
    for name, (data, problem) in raw.items():
        yield _sample("sites", name, base, "sites.json", data, problem)
    for name, (edit, problem) in _sites_edits().items():
        document = copy.deepcopy(json.loads(good))
        edit(document)
        yield _sample("sites", name, base, "sites.json", json.dumps(document).encode(), problem)


def _sites_edits() -> dict[str, tuple[Edit, str]]:
    def first(kind: str, **fields: object) -> Edit:
        return lambda document: document[kind][0].update(fields)

    def add(kind: str, **fields: object) -> Edit:
        return lambda document: document[kind].append(fields)

    many = [[0, 4, 1_000_000]] * 5
    runs = "arrays[0].channels"
    one = [[0, 1, 1]]
    return {
        "another major version": (lambda d: d.update(format="modhub/sites@2"), "format: expected modhub/sites@1"),
        "no arrays": (lambda d: d.pop("arrays"), "sites.json: arrays: is missing"),
        "a run beyond the channels": (
            first("arrays", channels=[[23, 4, 1]]),
            f"{runs}: the run [23, 4, 1] is empty or",
        ),
        "a run of two numbers": (first("arrays", channels=[[0, 4]]), f"{runs}[0]: expected [first, count, repeat]"),
        "a negative run": (first("arrays", channels=[[-1, 4, 1]]), f"{runs}[0][0]: expected a non-negative integer"),
        "a run of fractions": (first("arrays", channels=[[0, 4.0, 1]]), f"{runs}[0][1]: expected a non-negative"),
        "a run of truth": (first("arrays", channels=[[0, 4, True]]), f"{runs}[0][2]: expected a non-negative"),
        "an empty run": (first("arrays", channels=[[0, 0, 1]]), f"{runs}: the run [0, 0, 1] is empty"),
        "no run": (first("arrays", channels=[]), f"{runs}: expected at least one run"),
        "a billion positions": (first("arrays", channels=[[0, 4, 250_000_000]]), f"{runs}: describes more than"),
        "many millions of positions": (first("arrays", channels=many), f"{runs}: describes more than 16777216 posit"),
        "a billion channels": (first("sites", size=10**9), "sites: has 1000000021 channels, at most 16777216"),
        "a site without channels": (first("sites", size=0), "sites[0].size: expected a positive integer"),
        "a site twice": (lambda d: d["sites"][1].update(id="array0"), "sites: two sites have one id"),
        "a pin that is no text": (first("sites", pinned=True), "sites[0].pinned: expected a string"),
        "a layer that is not there": (first("sites", layers=["x"]), "sites[0].layers: there is no array 'x'"),
        "an array that is not there": (first("arrays", array="x"), "arrays[0]: no node 'conv0' reads an array 'x'"),
        "an array of another node": (first("arrays", node="conv2"), "arrays[0]: no node 'conv2' reads an array"),
        "an axis that is not there": (first("arrays", axis=4), "arrays[0]: gives 4 channels for axis 4"),
        "too few channels": (first("arrays", channels=[[0, 3, 1]]), "arrays[0]: gives 3 channels for axis 0"),
        "an unknown role": (first("arrays", role="code"), "arrays[0].role: expected one of row, column, element"),
        "a node that is not there": (first("readers", node="x"), "readers[0]: there is no node 'x'"),
        "an input that is not there": (
            first("readers", operand=9),
            "readers[0]: gives 4 channels for axis 1 of input 9",
        ),
        "a reader of another axis": (first("readers", axis=2), "readers[0]: gives 4 channels for axis 2"),
        "a branch along the height": (first("branches", axis=2), "branches[0]: gives 4 channels for axis 2"),
        "a branch of another rank": (first("branches", rank=5), "branches[0]: gives 4 channels for axis 1"),
        "a narrow stream": (first("branches", stream=one), "branches[0]: puts 4 channels onto a stream of 1"),
        "a size that is not there": (
            add("targets", node="conv0", operand=1, index=0, channels=one),
            "targets[0]: 'conv0' has no input 1 with a size 0",
        ),
        "positions that are not there": (
            add("positions", node="conv0", operand=7, channels=one),
            "positions[0]: 'conv0' has no input 7",
        ),
        "a number that is not there": (
            add("attributes", node="conv0", attribute="kernel_shape", channels=one),
            "attributes[0]: 'conv0' has no number 'kernel_shape'",
        ),
        "an empty part": (lambda d: d["parts"].append([]), "parts[0]: expected at least one run"),
        "too few logits": (lambda d: d.update(output=[[0, 2, 1]]), "output: numbers 2 logits of 3"),
    }


def _sample(
    group: str, name: str, package: Package, file: str, data: bytes, problem: str, base: Package | None = None
) -> Sample:
    return Sample(group=group, name=name, files=resealed(package, {file: data}), problem=problem, base=base)


def main() -> None:
    """Let `verify` refuse every sample, and print how many there are."""
    from modhub.errors import InvalidPackage
    from modhub.package.verify import verify

    refused = 0
    for sample in samples():
        try:
            verify(sample.files, base=sample.base)
        except InvalidPackage:
            refused += 1
    print(refused)  # noqa: T201  What the program is for.


if __name__ == "__main__":
    main()
