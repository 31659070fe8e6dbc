"""From a file in ONNX to scores of a composite, without a line of code for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub import flow
from modhub.composer.part import Part
from modhub.datasets import Dataset
from modhub.decomposers.options import Options
from modhub.engines.model import Model
from modhub.engines.runtime import Session
from modhub.network.load import load
from modhub.network.slice import masked, sliced
from modhub.package.materialise import network_of
from modhub.package.pack import Release
from tests.support.networks import inputs_for
from tests.support.shared import ABSENT, shared_data, shared_models, shared_network
from tests.support.torch_models import FAMILIES, exported

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

MODELS = shared_models()
NEAR = 1e-5
CLASSES = (0, 2)


def check_story(network: Network, data: Dataset, folder: Path, *, method: str, options: Options) -> Decomposition:
    """Split, pack, write, check, compose and run; compare what was promised with what comes out."""
    train, validation = data.split(0.4, seed=0)
    split = flow.decompose(Model.of(network, columns=()), train, method=method, validation=validation, options=options)
    x = validation.fitted(network.input).x[:8]
    for module in split.modules:
        small, oracle = (Session(cut(network, split.sites, module)).run(x) for cut in (sliced, masked))
        np.testing.assert_allclose(small, oracle, atol=NEAR * max(1.0, float(np.abs(oracle).max())))
    packages = flow.pack(split, Release(forms=("delta", "standalone")))
    base, *modules = flow.check(flow.write_collection(packages, folder / "split"))
    parts = [Part(reference=package.name, package=package, base=base) for package in modules]
    scores = flow.run(flow.compose(parts), validation)
    assert scores.shape == (len(validation), len(modules))
    assert np.isfinite(scores).all()
    for column, package in enumerate(modules):
        alone = Session(network_of(package, base)).run(x)[:, 0]
        np.testing.assert_allclose(scores[:8, column], alone, atol=NEAR * max(1.0, float(np.abs(alone).max())))
    return split


@pytest.mark.skipif(not MODELS, reason=ABSENT)
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_shared_model_is_split_and_composed(path: Path, tmp_path: Path) -> None:
    data = shared_data(path.stem).take(60)
    options = Options(keep=0.6, max_loss=100, classes=CLASSES, align=4)
    split = check_story(shared_network(path), data, tmp_path, method="saliency", options=options)
    kept = [len(channels) for module in split.modules for channels in module.kept.values()]
    whole = [split.sites[site].size for module in split.modules for site in module.kept]
    assert sum(kept) < 0.75 * sum(whole)


LEARNED = ("cifar10-vit-ibp-3-3-8", "clinc-domains-gru1", "clinc-domains-lstm1", "mnist-conv-small", "usps-cnn-ccexam")


@pytest.mark.skipif(not MODELS, reason=ABSENT)
@pytest.mark.parametrize("path", [path for path in MODELS if path.stem in LEARNED], ids=lambda path: path.stem)
def test_masks_are_learned_in_a_shared_model(path: Path, tmp_path: Path) -> None:
    data = shared_data(path.stem).take(60)
    options = Options(keep=0.6, max_loss=100, steps=2, classes=CLASSES)
    check_story(shared_network(path), data, tmp_path, method="gradsplitter", options=options)


@pytest.mark.parametrize("method", ["saliency", "gradsplitter"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_architectures_is_split_and_composed(family: str, method: str, tmp_path: Path) -> None:
    network = load(exported(family, dynamo=False, opset=17))
    x = inputs_for(network, batch=30)
    data = Dataset.of(x, y=np.arange(30) % int(network.output_shape[-1]))
    options = Options(keep=0.6, max_loss=100, steps=2, classes=CLASSES, align=2)
    check_story(network, data, tmp_path, method=method, options=options)
