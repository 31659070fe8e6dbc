"""Channels that a residual stream adds up are kept or dropped together, where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub import flow
from modhub.datasets import load_dataset
from modhub.datasets.samples import read_sample
from modhub.decomposers.cut import choose_cut
from modhub.decomposers.options import Options
from modhub.decomposers.ties import tied_columns, with_streams
from modhub.engines.runtime import Session
from modhub.errors import UsageError
from modhub.network.load import load
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced

if TYPE_CHECKING:
    from modhub.datasets import Dataset
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

SHORT = Options(keep=0.5, max_loss=100, steps=4, tied=True, classes=(0, 3, 5))


@pytest.fixture(scope="module")
def resnet() -> Network:
    return load(read_sample("cifar10-resnet20.onnx"))


@pytest.fixture(scope="module")
def images() -> Dataset:
    return load_dataset("sample:cifar10-train").take(60)


@pytest.fixture(scope="module", params=["gradsplitter", "saliency"])
def split(request: pytest.FixtureRequest, resnet: Network, images: Dataset) -> Decomposition:
    train, validation = images.split(0.5, seed=0)
    return flow.decompose(resnet, train, method=request.param, validation=validation, options=SHORT)


def test_the_stream_behind_a_shortcut_without_weights_is_masked_with_its_branches(resnet: Network) -> None:
    sites = find_sites(resnet)
    cut, maskable = choose_cut(resnet, sites, "auto")
    found = with_streams(sites, maskable, behind=sites.after(resnet, cut))
    (stream,) = set(found) - set(maskable)
    assert (stream.size, stream.layers) == (64, ())
    ties, free = tied_columns(sites, found)
    # One choice a channel for the stream and the last layers of three blocks, one for each of three inner layers.
    assert (len(ties), free) == (7 * 64, 4 * 64)


def test_tied_layers_keep_the_same_channels_and_nothing_is_put_back_in_place(split: Decomposition) -> None:
    _, maskable = choose_cut(split.parent, split.sites, "auto")
    behind = split.sites.after(split.parent, split.cut)
    everything = with_streams(split.sites, maskable, behind=behind)
    ties, _ = tied_columns(split.sites, everything)
    first = dict(zip((site.id for site in everything), np.cumsum([0, *(s.size for s in everything)]), strict=False))
    for module in split.modules:
        flags = np.zeros(len(ties), dtype=np.bool_)
        flags[np.concatenate([first[site.id] + module.kept[site.id] for site in everything])] = True
        choices = ties.numpy()
        for choice in np.unique(choices):
            assert len(set(flags[choices == choice].tolist())) == 1
        alone = sliced(split.parent, split.sites, module)
        # The parent has one product with a selection behind the cut, its own shortcut.
        own, parents = (sum(node.op == "Conv" for node in network.nodes) for network in (alone, split.parent))
        assert own <= parents


def test_tied_modules_are_what_was_trained(split: Decomposition, images: Dataset) -> None:
    for module in split.modules:
        small, oracle = (cut(split.parent, split.sites, module) for cut in (sliced, masked))
        np.testing.assert_allclose(Session(small).run(images.x), Session(oracle).run(images.x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["cnnsplitter", "weightmask"])
def test_methods_that_cannot_tie_say_so(method: str, resnet: Network, images: Dataset) -> None:
    with pytest.raises(UsageError, match=f"{method} cannot tie channels"):
        flow.decompose(resnet, images, method=method, validation=images, options=SHORT)
