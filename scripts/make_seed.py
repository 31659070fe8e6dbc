"""Make the embedded registry anew: the ten class modules of the ResNet-20 that ships with modhub.

    python scripts/make_seed.py                        from the images that ship with modhub, in a minute or two
    python scripts/make_seed.py --data FILE --test FILE  from more of CIFAR-10, as the registry in the repository was

FILE is what `modhub decompose --data` takes, for example an .npz file with x and y. Masks, cut and retention are chosen
on a tenth of the data; the metrics in the manifests are measured on the test data afterwards.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub import flow
from modhub.datasets import load_dataset
from modhub.datasets.samples import read_sample
from modhub.decomposers.options import Options
from modhub.engines.runtime import Session
from modhub.metrics import accuracy, detection
from modhub.network.slice import sliced
from modhub.package.pack import Release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition

SEED = Path(__file__).parents[1] / "registry" / "seed"
COLLECTION = "modhub/resnet20-cifar10"
MODEL = "cifar10-resnet20.onnx"
CREATED = "2026-11-21T00:00:00Z"
VALIDATION = 0.1


def main() -> None:
    """Split, measure, pack, and publish into the seed folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample:cifar10-train")
    parser.add_argument("--test", default="sample:cifar10-test")
    parser.add_argument("--keep", type=float, default=0.5, help="smallest share of kernels to try")
    parser.add_argument("--max-loss", type=float, default=2.0, help="most points of validation accuracy to lose")
    parser.add_argument("--steps", type=int, default=None, help="training steps per level of retention")
    parser.add_argument("--output", type=Path, default=SEED)
    arguments = parser.parse_args()
    data = load_dataset(arguments.data)
    train, validation = data.split(VALIDATION)
    options = Options(keep=arguments.keep, max_loss=arguments.max_loss, steps=arguments.steps, flip=True)
    network = flow.load(read_sample(MODEL))
    split = flow.decompose(network, train, validation=validation, options=options, progress=tell)
    split = measured(split, load_dataset(arguments.test))
    release = Release(
        created=CREATED,
        license="BSD-2-Clause",
        homepage="https://github.com/akamaster/pytorch_resnet_cifar10",
        parent_name="resnet20-cifar10",
        labels=data.classes or (),
        forms=("delta",),
    )
    shutil.rmtree(arguments.output, ignore_errors=True)
    result = flow.publish(flow.pack(split, release), to=str(arguments.output.absolute()), collection=COLLECTION)
    # The seed is only ever read, so the commit log of the folder need not travel with it.
    shutil.rmtree(arguments.output / COLLECTION / ".modhub")
    print(f"{len(result.published)} releases, {result.size:,} bytes, in {arguments.output}")


def measured(split: Decomposition, test: Dataset) -> Decomposition:
    """Return a decomposition with its metrics measured on test data."""
    modules = []
    for module in split.modules:
        score = Session(sliced(split.parent, split.sites, module)).run(test.x)[:, 0]
        found = detection(score, test.labels == module.row, split="test")
        print(f"{module.label:12} F1 {found['f1'].value:.3f}")
        modules.append(dataclasses.replace(module, metrics=found))
    parent = accuracy(Session(split.parent).run(test.x), test.labels, split="test")
    return dataclasses.replace(split, modules=tuple(modules), parent_metrics={"accuracy": parent})


def tell(event: Mapping[str, Any]) -> None:
    """Print a step of the work."""
    print(", ".join(f"{key} {value}" for key, value in event.items()), file=sys.stderr)


if __name__ == "__main__":
    main()
