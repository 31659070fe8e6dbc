"""A second reader of the package format, made from the page docs/format.md: it shares no code with modhub.

`python examples/read_package.py COLLECTION-FOLDER MODULE` runs a module once. It does not cut the base smaller, as
modhub does, but sets to zero what the module drops, which gives the same scores; so it never has to look into the
graph, but for the place of each array where the base ships no weights file. It is for one's own files: of all that
the page tells readers to refuse, it refuses only a wrong digest.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
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


def unpacked(bits: Any, array: Any) -> Any:
    """Return packed bits as flags of the shape of an array."""
    return np.unpackbits(bits, bitorder="little")[: array.size].reshape(array.shape).astype(bool)


def from_gaps(data: Any) -> list[int]:
    """Return the places that gaps in base 128 stand for."""
    places, gap, shift, place = [], 0, 0, -1
    for byte in data.tolist():
        gap, shift = gap | (byte & 127) << shift, shift + 7
        if byte < 128:
            place += gap + 1
            places.append(place)
            gap, shift = 0, 0
    return places


def weights_of(base: dict[str, bytes]) -> bytearray:
    """Return the weights file of a base; one that ships values only is laid out as its graph refers to it."""
    if "weights.safetensors" in base:
        return bytearray(base["weights.safetensors"])
    stem, values = (read_arrays(bytearray(base[f"{name}.safetensors"]))[0] for name in ("stem", "values"))
    arrays, header, start = {}, {}, 0
    for tensor in onnx.load_model_from_string(base["model.onnx"]).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array = np.zeros(tensor.dims, np.float32)
            common = unpacked(stem[f"bits/{tensor.name}"], array) if f"bits/{tensor.name}" in stem else ...
            array[common] = values[f"{'whole' if common is ... else 'kept'}/{tensor.name}"]
            place = {entry.key: entry.value for entry in tensor.external_data}
            arrays[int(place["offset"])] = (tensor.name, array)
    start = min(arrays)
    for offset, (name, array) in arrays.items():
        header[name] = {
            "dtype": "F32",
            "shape": array.shape,
            "data_offsets": [offset - start, offset - start + array.nbytes],
        }
    text = json.dumps(header, separators=(",", ":")).encode().ljust(start - 8)
    return bytearray(
        b"".join([(start - 8).to_bytes(8, "little"), text, *(arrays[o][1].tobytes() for o in sorted(arrays))])
    )


def complete(arrays: dict[str, Any], masks: dict[str, Any], base: dict[str, bytes]) -> None:
    """Spell out the masks that refer to the base's stem, and give the base the weights that only this module has."""
    stem = read_arrays(bytearray(base["stem.safetensors"]))[0] if "stem.safetensors" in base else {}
    for name, array in arrays.items():
        if f"bits/{name}" not in stem:
            continue
        common = unpacked(stem[f"bits/{name}"], array)
        if f"xor/{name}" in masks:
            flags = common.copy().reshape(-1)
            flags[from_gaps(masks[f"xor/{name}"])] ^= True
            masks[f"bits/{name}"] = np.packbits(flags, bitorder="little")
        if f"values/{name}" in masks:
            own = unpacked(masks[f"bits/{name}"], array) if f"bits/{name}" in masks else np.ones(array.shape, bool)
            array[own & ~common] = masks[f"values/{name}"]


def apply_masks(arrays: dict[str, Any], masks: dict[str, Any], sites: Any) -> None:
    """Set to zero what a module drops of its base, and scale and shift what it keeps."""
    kept = [np.isin(np.arange(s["size"]), masks.get(f"keep/{s['id']}", np.arange(s["size"]))) for s in sites["sites"]]
    flags = np.concatenate(kept)
    for name, array in arrays.items():
        if f"bits/{name}" in masks:
            array[~unpacked(masks[f"bits/{name}"], array)] = 0
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
    weights = weights_of(base)
    arrays = read_arrays(weights)[0]
    complete(arrays, masks, base)
    apply_masks(arrays, masks, json.loads(base["sites.json"]))
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
