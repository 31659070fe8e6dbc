"""What is drawn and reported is counted right: against packages, against sliced networks, and by its laws."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modhub import flow
from modhub.composer.compose import Part
from modhub.metrics import Scored, expected_calibration_error, sigmoid
from modhub.network.passes.selection import is_selection
from modhub.network.report import describe, pinned_sentence, short_names
from modhub.network.sites import find_sites
from modhub.network.slice import sliced
from modhub.package.pack import Release, pack
from modhub.report.curve import curve_of
from modhub.report.kept import MASKED, PINNED, TRUNK, kept_of
from modhub.report.labels import label, labels
from modhub.report.overlap import overlap_of
from modhub.report.scores import confusion_of, reliability_of
from modhub.report.split import Split, sites_behind
from modhub.report.subject import Subject, subject_of_collection, subject_of_composite, subject_of_network
from tests.support.architectures import convolutional
from tests.support.modules import random_decomposition, with_random_weights
from tests.support.networks import Builder
from tests.support.pets import CLASSES, pets_network, pets_packages

if TYPE_CHECKING:
    from modhub.network.network import Network

SEED = Path(__file__).parents[2] / "registry" / "seed" / "modhub" / "resnet20-cifar10"


def weights_split(*, seed: int = 0) -> Split:
    """Return modules of the pets that mask channels and single weights."""
    network = pets_network()
    split = random_decomposition(network, labels=CLASSES, seed=seed)
    modules = (with_random_weights(network, module, seed=i) for i, module in enumerate(split.modules))
    return Split.of(dataclasses.replace(split, modules=tuple(modules)))


def counted(split: Split) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the Jaccard index of each two modules, element by element."""
    open_channels = {site.id for site in split.behind}
    starts, arrays = split.sites.offsets, []
    for name, axes in split.axes.items():
        owners = {
            site.id
            for channels in axes.values()
            for site in split.sites.sites
            if np.isin(channels, np.arange(starts[site.id], starts[site.id] + site.size)).any()
        }
        if owners & open_channels or any(name in module.weights for module in split.modules):
            arrays.append(name)
    flat = [
        np.concatenate([split.bits(m, i, name).reshape(-1) for name in arrays]) for i, m in enumerate(split.modules)
    ]
    return np.array([[(a & b).sum() / (a | b).sum() for b in flat] for a in flat])


def test_the_seed_collection_keeps_what_its_manifests_say() -> None:
    packages = flow.check(SEED)
    subject = subject_of_collection(packages, name="seed", report={})
    said = [package.manifest.metrics["kernels_kept"].value for package in packages[1:]]
    assert [round(share, 6) for share in subject.sites.kernels_kept] == said
    assert subject.sites.modules == tuple(package.manifest.classes[0].name for package in packages[1:])
    states = [site.state for site in subject.sites.sites]
    assert states == sorted(states, key=[TRUNK, MASKED, PINNED].index)


@pytest.mark.parametrize("cut", ["", "relu_1"])
def test_packages_alone_tell_where_masks_could_act(cut: str) -> None:
    network = pets_network()
    points = {"": "", "relu_1": next(node.outputs[0] for node in network.nodes if node.op == "Relu")}
    whole = random_decomposition(network, cut=points[cut], labels=CLASSES)
    packages = pack(whole, Release(labels=CLASSES))
    subject = subject_of_collection(packages, name="pets", report={})
    known = kept_of(Split.of(whole))
    assert [site.state for site in subject.sites.sites] == [site.state for site in known.sites]
    np.testing.assert_array_equal(subject.sites.channels, known.channels)
    for package, share in zip(packages[1:], subject.sites.kernels_kept, strict=True):
        assert math.isclose(share, package.manifest.metrics["kernels_kept"].value, abs_tol=1e-6)


def test_sites_behind_without_a_count_are_those_that_a_module_cuts() -> None:
    split = Split.of(random_decomposition(pets_network()))
    found = sites_behind(split.parent, split.sites, total=None, modules=split.modules)
    assert found == tuple(site for site in split.sites.sites if not site.pinned)
    assert sites_behind(split.parent, split.sites, total=12345, modules=()) == ()


@given(network=convolutional(max_blocks=2), seed=st.integers(0, 3))
def test_kept_weights_are_those_of_the_sliced_network(network: Network, seed: int) -> None:
    split = Split.of(random_decomposition(network, seed=2 * seed))
    for number, module in enumerate(split.modules):
        bare = dataclasses.replace(module, affine={}, calibration=None, row=0)
        arrays = dict(sliced(split.parent, split.sites, bare).weights())
        for name in arrays.keys() & split.axes.keys():
            if not is_selection(name) and not _makes_logits(split, name):
                assert arrays[name].size == split.weights_kept(name)[number], name


def _makes_logits(split: Split, array: str) -> bool:
    """Tell whether a row of an array is a logit: a module keeps its own only."""
    output = split.sites.output
    return output is not None and any(np.isin(channels, output).any() for channels in split.axes[array].values())


@pytest.mark.parametrize(
    "split", [Split.of(random_decomposition(pets_network())), weights_split()], ids=["channels", "bits"]
)
def test_overlap_is_what_counting_element_by_element_gives(split: Split) -> None:
    found = overlap_of(split).jaccard
    np.testing.assert_allclose(found, counted(split), rtol=1e-12)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1.0)
    assert ((found >= 0) & (found <= 1)).all()


def test_equal_modules_have_everything_in_common_and_disjoint_ones_nothing() -> None:
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.gemm(builder.input, 4), 2))
    whole = random_decomposition(network)
    (first, *_), (one, other) = whole.sites.sites, whole.modules
    same = dataclasses.replace(whole, modules=(one, dataclasses.replace(other, kept=one.kept)))
    assert (overlap_of(Split.of(same)).jaccard == 1).all()
    halves = tuple(
        dataclasses.replace(module, kept={first.id: np.array(kept)})
        for module, kept in ((one, [0, 1]), (other, [2, 3]))
    )
    apart = overlap_of(Split.of(dataclasses.replace(whole, modules=halves)))
    np.testing.assert_array_equal(apart.jaccard, np.eye(2))


def test_single_weights_are_counted_where_they_are_masked() -> None:
    split = weights_split()
    kept = kept_of(split)
    assert kept.measure == "weights"
    for j, site in enumerate(kept.sites):
        for i, module in enumerate(split.modules):
            assert kept.weights[i, j] == sum(split.bits(module, i, layer).sum() for layer in site.layers)
    assert kept.open == list(range(len(kept.sites)))
    assert 0 < (kept.mean_share or 0) < 1


def test_a_composite_shares_the_weights_that_its_columns_have_in_common() -> None:
    network = pets_network()
    cut = next(node.outputs[0] for node in network.nodes if node.op == "Relu")
    base, *modules = pack(random_decomposition(network, cut=cut, labels=CLASSES), Release(labels=CLASSES))
    composite = flow.compose([Part(reference=module.name, package=module, base=base) for module in modules[:3]])
    subject = subject_of_composite(composite.package)
    assert subject.kept is None
    assert subject.overlap is not None
    assert subject.overlap.modules == CLASSES[:3]
    assert ((subject.overlap.others > 0) & (subject.overlap.others < 1)).all()


def test_a_network_alone_has_sites_and_nothing_else() -> None:
    subject = subject_of_network(pets_network(), name="pets")
    assert subject == Subject(name="pets", sites=subject.sites)
    assert [site.state for site in subject.sites.sites] == [MASKED, MASKED, PINNED]
    assert [site.name for site in subject.sites.sites] == ["conv 1", "conv 2", "fc 1"]


def test_rows_of_sites_say_what_describe_says() -> None:
    network = pets_network()
    sites = find_sites(network)
    rows = [row.to_dict() for row in subject_of_network(network, name="pets").sites.sites]
    for row, described in zip(rows, describe(sites), strict=True):
        assert {key: row[key] for key in described} == described


def test_sites_have_short_names_by_their_layers() -> None:
    builder = Builder(shape=(3, 4, 4))
    first = builder.conv(builder.input, 4)
    network = builder.build(builder.gemm(builder.flatten(builder.conv(first, 2)), 5))
    assert short_names(network, find_sites(network)) == ["conv 1", "conv 2", "fc 1"]


def test_what_is_pinned_is_told_in_a_sentence() -> None:
    builder = Builder(shape=(3, 4, 4))
    normal = builder.apply("LRN", builder.conv(builder.input, 12), size=3)
    network = builder.build(builder.gemm(builder.flatten(builder.conv(normal, 2)), 5))
    assert pinned_sentence(find_sites(network)) == (
        "1 of 3 sites can be cut; pinned: 1 site of 12 channels (LRN node 'lrn1' has no rule for cutting); "
        "1 site of 5 channels (it is the output)"
    )
    assert pinned_sentence(find_sites(network), most=1).endswith("; and for 1 more reason")


def test_the_chosen_point_is_the_one_that_keeps_what_the_modules_keep() -> None:
    history: list[dict[str, Any]] = [
        {"step": "rung", "kept": 0.7, "accuracy": 0.9},
        {"step": "other"},
        {"step": "rung", "kept": 0.5, "accuracy": 0.8},
        {"step": "rung", "kept": float("nan"), "accuracy": 0.8},
        {"step": "rung", "kept": 0.3, "accuracy": True},
    ]
    curve = curve_of(history, parent=0.95, max_loss=1.0, kept=0.52)
    assert curve is not None
    assert [(point.kept, point.accuracy) for point in curve.points] == [(0.7, 0.9), (0.5, 0.8)]
    assert curve.chosen == 1
    said = curve_of([{**history[0], "chosen": True}, history[2]], parent=None, max_loss=None, kept=0.5)
    assert said is not None
    assert said.chosen == 0
    assert curve_of([{"step": "other"}], parent=0.9, max_loss=1.0, kept=0.5) is None


def scored(*, calibrated: bool, seed: int = 0) -> Scored:
    """Return scores that are right more often than not; some samples are of no scored class."""
    random = np.random.default_rng(seed)
    columns = random.integers(-1, 3, 200)
    scores = random.standard_normal((200, 3)) + 2 * (columns[:, None] == np.arange(3))
    return Scored(scores=scores.astype(np.float32), columns=columns, calibrated=calibrated)


def test_confusions_count_every_sample_of_a_scored_class_once() -> None:
    known = scored(calibrated=True)
    confusion = confusion_of(known, ("a", "b", "c"))
    assert confusion is not None
    inside = known.columns >= 0
    np.testing.assert_array_equal(confusion.counts.sum(axis=1), np.bincount(known.columns[inside], minlength=3))
    right = (known.scores.argmax(axis=1) == known.columns)[inside].mean()
    assert math.isclose(confusion.accuracy, right)
    counts = [count for _, _, count in confusion.worst()]
    assert counts == sorted(counts, reverse=True)
    assert confusion_of(known, ("a",)) is None


def test_the_error_of_the_bins_is_the_expected_calibration_error() -> None:
    known = scored(calibrated=True)
    found = reliability_of(known)
    right = known.columns[:, None] == np.arange(3)
    assert math.isclose(found.error, expected_calibration_error(known.scores.reshape(-1), right.reshape(-1)))
    assert found.counts.sum() == known.scores.size
    full = found.counts > 0
    assert math.isclose((found.stated * found.counts)[full].sum(), sigmoid(known.scores).sum())


def test_raw_logits_are_read_as_a_softmax() -> None:
    found = reliability_of(scored(calibrated=False))
    assert found.counts.sum() == (scored(calibrated=False).columns >= 0).sum()
    assert not found.counts[:4].any()  # The highest of three probabilities is a third at least.


@given(st.text(max_size=60), st.integers(3, 30))
def test_labels_are_short_and_on_one_line(text: str, most: int) -> None:
    shown = label(text, most=most)
    assert 0 < len(shown) <= most
    assert shown.isprintable()


def test_labels_that_would_look_alike_are_numbered() -> None:
    names = labels(["x" * 40 + "1" + "y" * 40, "x" * 40 + "2" + "y" * 40, "cat"])
    assert len(set(names)) == 3
    assert names[2] == "cat"


def test_standalone_modules_have_no_masks_to_draw() -> None:
    subject = subject_of_collection(pets_packages(forms=("standalone",)), name="pets", report={})
    assert subject.kept is None
    assert subject.overlap is None
