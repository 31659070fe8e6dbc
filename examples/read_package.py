"""A second reader of the package format, made from the page docs/format.md: it shares no code with modhub.

`python examples/read_package.py COLLECTION-FOLDER MODULE` runs a module once. It does not cut the base smaller, as
modhub does, but sets to zero what the module drops, which gives the same scores; so it never has to look into the
graph. It is for one's own files: of all that the page tells readers to refuse, it refuses only a wrong digest.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

DTYPES = {"F32": "<f4", "U32": "<u4", "U8": "u1"}


def read_release(collection: Path, name: str) -> dict[str, bytes]:
    """Return the files of the newest release of a package, each with the digest that the index or manifest promises."""
    releases = json.loads((collection / "modhub.json").read_bytes())["releases"]
    release = [release for release in releases if release["name"] == name][-1]
    records = [release["manifest"], *(record for form in release["forms"].values() for record in form)]
    files = {
        record["path"]: (collection / name / release["version"] / record["path"]).read_bytes() for record in records
    }
    for record in records:
        assert hashlib.sha256(files[record["path"]]).hexdigest() == record["sha256"], record["path"]
    return files


def read_arrays(data: bytearray) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arrays of a safetensors file, which change with it, and its metadata."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(memoryview(data)[start + begin : start + end], DTYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"])
    return arrays, metadata


def channels_of(use: Any) -> Any:
    """Return the channel that each position along an axis belongs to."""
    return np.concatenate([np.repeat(np.arange(first, first + n), repeat) for first, n, repeat in use["channels"]])


def apply_masks(arrays: dict[str, Any], masks: dict[str, Any], sites: Any) -> None:
    """Set to zero what a module drops of its base, and scale and shift what it keeps."""
    kept = [np.isin(np.arange(s["size"]), masks.get(f"keep/{s['id']}", np.arange(s["size"]))) for s in sites["sites"]]
    flags = np.concatenate(kept)
    for name, array in arrays.items():
        if f"bits/{name}" in masks:
            bits = np.unpackbits(masks[f"bits/{name}"], bitorder="little")[: array.size]
            array[bits.reshape(array.shape) == 0] = 0
    rows = [use for use in sites["arrays"] if use["role"] == "row"]
    for use in rows:
        if f"scale/{use['array']}" in masks:
            layer, kept_rows = arrays[use["array"]], flags[channels_of(use)]
            (bias,) = (arrays[u["array"]] for u in rows if u["node"] == use["node"] and u["array"] != use["array"])
            scale, offset = masks[f"scale/{use['array']}"], masks[f"offset/{use['array']}"]
            layer[kept_rows] *= scale.reshape(-1, *[1] * (layer.ndim - 1))
            bias[kept_rows] = bias[kept_rows] * scale + offset
    for use in sites["arrays"]:
        if use["role"] in ("row", "column"):
            np.moveaxis(arrays[use["array"]], use["axis"], 0)[~flags[channels_of(use)]] = 0


def run_module(collection: Path, name: str, x: Any) -> Any:
    """Return a module's calibrated scores ``[n, 1]`` for some inputs."""
    module = read_release(collection, name)
    manifest = json.loads(module["module.json"])
    base = read_release(collection, manifest["dependencies"][0]["package"].removeprefix("./"))
    masks, metadata = read_arrays(bytearray(module["delta.safetensors"]))
    weights = bytearray(base["weights.safetensors"])
    apply_masks(read_arrays(weights)[0], masks, json.loads(base["sites.json"]))
    changed = bytes(weights)  # It has to stay until ONNX Runtime has made the session.
    options = onnxruntime.SessionOptions()
    options.add_external_initializers_from_files_in_memory(["weights.safetensors"], [changed], [len(changed)])
    session = onnxruntime.InferenceSession(base["model.onnx"], options)
    (logits,) = session.run(None, {manifest["input"]["name"]: x})
    about = json.loads(metadata["modhub"])
    if about["head"] == "own":
        score = logits[:, about["row"], None]
    else:
        hidden = np.maximum(np.maximum(logits, 0) @ masks["head/first"].T + masks["head/first.bias"], 0)
        score = hidden @ masks["head/second"].T + masks["head/second.bias"]
    calibration = manifest["output"].get("calibration", {"scale": 1, "offset": 0})
    return score * calibration["scale"] + calibration["offset"]


if __name__ == "__main__":
    folder, module_name = Path(sys.argv[1]), sys.argv[2]
    axes = json.loads(read_release(folder, module_name)["module.json"])["input"]["shape"]
    print(run_module(folder, module_name, np.random.default_rng(0).random((1, *axes[1:]), dtype=np.float32)))
