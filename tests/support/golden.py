"""The golden collection: packages of the first format, as they were written then, which every later version reads.

`python -m tests.support.golden` writes it anew. That is for a format that nobody has used yet; a released one is never
written again, but gets a folder of its own beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.numpy import save

from modhub import fsops
from modhub.composer.compose import Part, compose
from modhub.engines.golden import golden_input
from modhub.engines.runtime import Session
from modhub.package.folder import collection_files
from modhub.package.materialise import network_of
from modhub.package.pack import Release, pack
from tests.support.networks import Builder
from tests.support.samples import packages, small_network
from tests.support.weight_masks import masked_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.fsops import Content

FOLDER = Path(__file__).parents[1] / "package" / "golden"
GOLDEN = FOLDER / "format-1"
MASKS = {"stem": "delta", "values": "values"}
"""Collections of modules that mask single weights: what their folders' names end in, and the form of each."""

EXPECTED = "expected.safetensors"


def in_memory(files: Mapping[str, Content]) -> dict[str, bytes]:
    """Return files with their bytes."""
    return {path: fsops.bytes_of(data) for path, data in files.items()}


def golden_files() -> dict[str, bytes]:
    """Return the files: a base, a module with its own head, one with an MLP head, a composite, and their scores."""
    base, cat, *_ = packages(seed=0)
    _, _, dog, _ = packages("delta", seed=1)
    parts = [Part(reference=f"acme/pets/{module.name}", package=module, base=base) for module in (cat, dog)]
    both = compose(parts, name="cat-and-dog", lock='version = "1"\n').package
    x = golden_input(small_network().input)
    scores = {part.package.name: Session(network_of(part.package, base)).run(x) for part in parts}
    collection = collection_files([base, cat, dog, both], summary="Golden packages")
    return {**in_memory(collection), EXPECTED: save({"input": x, **scores})}


def masked_files(form: str) -> dict[str, bytes]:
    """Return the files of a collection of two modules that mask single weights, and their scores."""
    builder = Builder(shape=(20,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 24)), 3))
    base, *modules = pack(masked_weights(network, modules=2), Release(license="MIT", forms=(form,)))
    x = golden_input(network.input)
    scores = {module.name: Session(network_of(module, base)).run(x) for module in modules}
    collection = collection_files([base, *modules], summary="Golden packages with weight masks")
    return {**in_memory(collection), EXPECTED: save({"input": x, **scores})}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder."""
    for path, data in files.items():
        fsops.make_folder((folder / path).parent)
        fsops.replace_file(folder / path, data)


if __name__ == "__main__":
    write(GOLDEN, golden_files())
    for name, form in MASKS.items():
        write(FOLDER / f"format-1-{name}", masked_files(form))
