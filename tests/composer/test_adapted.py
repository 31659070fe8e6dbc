"""Modules of other inputs are composed behind adapters that somebody named; the best of several parents are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from modhub import flow
from modhub.composer.compose import compose
from modhub.composer.part import Part
from modhub.datasets import Dataset
from modhub.engines.golden import replay
from modhub.engines.runtime import Session
from modhub.errors import ComposeError
from modhub.package.materialise import network_of
from modhub.package.pack import Release, pack
from modhub.package.verify import verify
from tests.support.modules import random_decomposition
from tests.support.networks import Builder
from tests.support.samples import CLASSES, parts

if TYPE_CHECKING:
    from modhub.network.network import Network

BOTH = ("channels", "resize")
DIGITS = ("one", "two")


def grey_network() -> Network:
    """Return a classifier of two digits on grey images of 6 x 5."""
    builder = Builder(shape=(1, 6, 5), seed=3)
    return builder.build(builder.gemm(builder.flatten(builder.relu(builder.conv(builder.input, 4))), len(DIGITS)))


def digits() -> list[Part]:
    """Return the modules of the grey classifier."""
    split = random_decomposition(grey_network(), seed=2, labels=DIGITS)
    base, *modules = pack(split, Release(license="MIT", labels=DIGITS))
    return [Part(reference=f"acme/digits/{module.name}", package=module, base=base) for module in modules]


def test_a_module_of_grey_images_is_shown_them_and_scores_as_it_does_alone() -> None:
    cat, one = parts()[0], digits()[0]
    composite = compose([cat, one], adapters=BOTH)
    assert composite.network.input.key() == cat.package.manifest.input.key()
    assert composite.adapters == ("acme/digits/one is shown colours to grey, 8x8 to 6x5, bilinear",)
    assert composite.shared_nodes >= 0
    x = np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32)
    grey = (torch.from_numpy(x) * torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    shown = torch.nn.functional.interpolate(grey, size=(6, 5), mode="bilinear", antialias=True).contiguous().numpy()
    scores = Session(composite.network).run(x)
    np.testing.assert_array_equal(scores[:, :1], Session(compose([cat]).network).run(x))
    np.testing.assert_allclose(scores[:, 1:], Session(compose([one]).network).run(shown), atol=1e-4)


def test_what_was_done_stands_in_the_package_which_replays() -> None:
    package = verify(compose([parts()[0], *digits()], adapters=BOTH).package.files)
    replay(package, network_of(package))
    assert package.manifest.method is not None
    told = str(package.manifest.method.parameters["adapters"])
    assert told.startswith("acme/digits/one is shown colours to grey")
    assert told.count("is shown") == len(DIGITS)


def test_nothing_is_adapted_that_was_not_named() -> None:
    both = [parts()[0], digits()[0]]
    with pytest.raises(ComposeError, match=r"take different inputs: .*; declare what may be done .*: channels, resize"):
        compose(both)
    with pytest.raises(ComposeError, match=r"acme/digits/one 1.0.0: the inputs differ: .* --adapt resize"):
        compose(both, adapters=("channels",))


def test_modules_of_one_input_stay_bit_for_bit_whatever_may_be_adapted() -> None:
    x = np.random.default_rng(1).random((3, 3, 8, 8), dtype=np.float32)
    plain, allowed = compose(parts()), compose(parts(), adapters=BOTH)
    assert allowed.adapters == ()
    np.testing.assert_array_equal(Session(allowed.network).run(x), Session(plain.network).run(x))


def test_a_task_across_data_sets_is_calibrated() -> None:
    cat, one = parts()[0], digits()[0]
    x = np.random.default_rng(2).random((120, 3, 8, 8), dtype=np.float32)
    scores = Session(compose([cat, one], adapters=BOTH).network).run(x)
    truth = (scores[:, 1] > np.median(scores[:, 1])).astype(np.int64)
    data = Dataset.of(x, y=truth, classes=[CLASSES[0], DIGITS[0]], name="task")
    fitted = flow.compose([cat, one], adapters=BOTH, calibrate=data)
    assert fitted.refit is not None
    assert fitted.refit.accuracy[1] >= fitted.refit.accuracy[0]
    assert fitted.package.manifest.method is not None
    assert {"adapters", "calibrated_on"} <= set(fitted.package.manifest.method.parameters)
