"""The golden collection: packages of the first format, as they were written then, which every later version reads.

`python -m tests.support.golden` writes it anew. That is for a format that nobody has used yet; a released one is never
written again, but gets a folder of its own beside it.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import save

from modhub import fsops
from modhub.composer.compose import Part, compose
from modhub.composer.golden import golden_input
from modhub.engines.runtime import Session
from modhub.package.folder import collection_files
from modhub.package.materialise import network_of
from tests.support.samples import packages, small_network

GOLDEN = Path(__file__).parents[1] / "package" / "golden" / "format-1"
EXPECTED = "expected.safetensors"


def golden_files() -> dict[str, bytes]:
    """Return the files: a base, a module with its own head, one with an MLP head, a composite, and their scores."""
    base, cat, *_ = packages(seed=0)
    _, _, dog, _ = packages("delta", seed=1)
    parts = [Part(reference=f"acme/pets/{module.name}", package=module, base=base) for module in (cat, dog)]
    both = compose(parts, name="cat-and-dog", lock='version = "1"\n').package
    x = golden_input(small_network().input)
    scores = {part.package.name: Session(network_of(part.package, base)).run(x) for part in parts}
    collection = collection_files([base, cat, dog, both], summary="Golden packages")
    return {**collection, EXPECTED: save({"input": x, **scores})}


if __name__ == "__main__":
    for path, data in golden_files().items():
        fsops.make_folder((GOLDEN / path).parent)
        fsops.replace_file(GOLDEN / path, data)
