"""Composing packages: what comes out, that it scores the same, and what is refused with which words."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub.composer.compose import Part, compose
from modhub.composer.licences import joined_licence
from modhub.datasets import Dataset
from modhub.engines.evaluation import evaluate_network
from modhub.engines.golden import golden_input
from modhub.engines.runtime import Session
from modhub.errors import ComposeError
from modhub.package.materialise import network_of
from modhub.package.pack import Release, pack
from modhub.package.package import Package
from modhub.package.verify import verify
from modhub.spec import limits
from modhub.spec.manifest import Manifest
from tests.support.modules import random_decomposition
from tests.support.networks import inputs_for, networks
from tests.support.runs import run_plainly
from tests.support.samples import CLASSES, packages, parts, small_decomposition, small_network

if TYPE_CHECKING:
    from random import Random

    from modhub.network.network import Network

LOCK = 'version = "1"\ncreated-by = "tests"\n'


def changed(part: Part, **fields: object) -> Part:
    """Return a part with some fields of its manifest changed; its files stay as they are."""
    manifest = dataclasses.replace(part.package.manifest, **fields)  # type: ignore[arg-type]
    package = Package(manifest=manifest, files={**part.package.files, "module.json": manifest.to_json()})
    return dataclasses.replace(part, package=package)


def renamed(part: Part, name: str) -> Part:
    """Return a part that scores a class of another name."""
    (label,) = part.package.manifest.classes
    return changed(part, classes=(dataclasses.replace(label, name=name),))


def uncalibrated(part: Part) -> Part:
    """Return a part without a calibration."""
    return changed(part, output=dataclasses.replace(part.package.manifest.output, calibration=None))


def strangers() -> list[Part]:
    """Return the modules of another parent, which score other classes."""
    return [renamed(part, f"wild {part.package.name}") for part in parts(network_seed=5, collection="acme/wild")]


def alone(*given: Part) -> list[Network]:
    """Return the parts' own networks."""
    return [network_of(part.package, part.base) for part in given]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_scores_are_those_of_the_modules_bit_for_bit_in_the_order_given(
    network: Network, seed: int, order: Random
) -> None:
    base, *modules = pack(random_decomposition(network, seed=seed), Release())
    order.shuffle(modules)
    given_parts = [Part(reference=module.name, package=module, base=base) for module in modules]
    composite = compose(given_parts)
    x = inputs_for(network, seed=seed)
    expected = np.concatenate([run_plainly(own, x) for own in alone(*given_parts)], axis=1)
    assert np.array_equal(run_plainly(network_of(verify(composite.package.files)), x), expected)
    names = [label.name for label in composite.package.manifest.classes]
    assert names == [module.manifest.classes[0].name for module in modules]


@pytest.mark.parametrize("form", ["delta", "standalone"])
def test_the_form_of_a_module_makes_no_difference(form: str) -> None:
    composed = compose([dataclasses.replace(part, reference="x") for part in parts(form)])
    expected = compose([dataclasses.replace(part, reference="x") for part in parts()])
    ignoring = ("model.onnx", "module.json")
    assert {k: v for k, v in composed.package.files.items() if k not in ignoring} == {
        k: v for k, v in expected.package.files.items() if k not in ignoring
    }
    assert composed.network.nodes == expected.network.nodes


def test_composing_twice_gives_equal_bytes() -> None:
    assert compose(parts(), lock=LOCK).package.files == compose(parts(), lock=LOCK).package.files


def test_a_composite_says_what_it_is_and_what_it_was_made_of() -> None:
    composite = compose(parts(), name="pets", version="2.0.0", lock=LOCK)
    manifest = verify(composite.package.files).manifest
    assert (manifest.kind, manifest.name, manifest.version) == ("composite", "pets", "2.0.0")
    assert manifest.summary == "Scores 3 classes: cat, dog, bird"
    assert (manifest.output.semantic, manifest.output.shape) == ("scores", ("batch", 3))
    assert manifest.provides == ("class:cat", "class:dog", "class:bird")
    wanted = [(f"acme/pets/{part.package.name}", "==1.0.0", part.package.digest) for part in parts()]
    assert [(need.package, need.version, need.sha256) for need in manifest.dependencies] == wanted
    assert set(composite.package.files) == {
        "NOTICE",
        "README.md",
        "golden.safetensors",
        "model.onnx",
        "modhub.lock",
        "module.json",
        "weights.safetensors",
    }
    assert composite.package.read("modhub.lock") == LOCK.encode()


def test_the_graph_alone_still_says_what_it_was_made_of() -> None:
    composite = compose(parts(), lock=LOCK)
    model = onnx.load_model_from_string(composite.package.read("model.onnx"))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert entries["modhub.lock"] == LOCK
    digests = [module["manifest"] for module in json.loads(entries["modhub.modules"])]
    assert digests == [part.package.digest for part in parts()]


def test_without_a_lock_there_is_no_lock_file() -> None:
    composite = compose(parts())
    assert "modhub.lock" not in composite.package.files
    assert set(composite.network.metadata) == {"modhub.modules"}


def test_modules_from_folders_are_no_dependencies() -> None:
    local = [dataclasses.replace(part, reference=f"pets/{part.package.name}") for part in parts()]
    assert compose(local).package.manifest.dependencies == ()


def test_modules_of_one_parent_share_what_is_equal() -> None:
    split = small_decomposition()
    whole = [dataclasses.replace(module, kept={}, affine={}) for module in split.modules]
    base, *modules = pack(dataclasses.replace(split, modules=tuple(whole)), Release())
    composite = compose([Part(reference=module.name, package=module, base=base) for module in modules])
    assert composite.strategy == "trunk"
    assert composite.why == "all modules come from one parent, so what they share runs once"
    assert composite.shared_nodes == 2 * (len(small_network().nodes) - 1)
    assert composite.cost < 0.4


def test_modules_of_several_parents_run_side_by_side() -> None:
    composite = compose([parts()[0], strangers()[1]])
    assert composite.strategy == "parallel"
    assert composite.why == "the modules come from 2 parents and run side by side"
    x = inputs_for(small_network())
    expected = np.concatenate([run_plainly(own, x) for own in alone(parts()[0], strangers()[1])], axis=1)
    assert np.array_equal(run_plainly(composite.network, x), expected)


def test_a_composite_can_be_composed_again() -> None:
    cat, dog, bird = parts()
    first = compose([dog, bird], name="birds-and-dogs")
    inner = Part(reference="acme/pets/birds-and-dogs", package=verify(first.package.files))
    outer = compose([cat, inner])
    manifest = verify(outer.package.files).manifest
    assert [label.name for label in manifest.classes] == list(CLASSES)
    assert manifest.output.shape == ("batch", 3)
    assert outer.strategy == "trunk"
    x = inputs_for(small_network())
    assert np.array_equal(run_plainly(outer.network, x), run_plainly(compose(parts()).network, x))


def test_composing_composites_again_and_again_ends_in_a_valid_package() -> None:
    whole = Part(reference="start", package=compose([parts()[0]]).package)
    for round_ in range(4):
        more = renamed(strangers()[0], f"class {round_}")
        whole = Part(reference=f"round-{round_}", package=verify(compose([whole, more]).package.files))
    assert len(whole.package.manifest.classes) == 5


def test_a_composite_can_be_evaluated() -> None:
    composite = compose(parts())
    x = inputs_for(small_network(), batch=9)
    data = Dataset.of(x, y=np.arange(9) % 3, classes=CLASSES)
    found = evaluate_network(composite.network, data, columns=CLASSES, calibrated=True, timed=False)
    expected = float((Session(composite.network).run(x).argmax(axis=1) == np.arange(9) % 3).mean())
    assert found.accuracy is not None
    assert found.accuracy.value == expected


def test_nothing_cannot_be_composed() -> None:
    with pytest.raises(ComposeError, match="there is nothing to compose: no modules were given"):
        compose([])


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ComposeError, match="there is no strategy 'magic'; the strategies are auto, trunk, parallel"):
        compose(parts(), strategy="magic")


def test_a_trunk_across_parents_is_refused() -> None:
    with pytest.raises(ComposeError, match="come from 2 parents and share no trunk: use 'parallel' or 'auto'"):
        compose([parts()[0], strangers()[0]], strategy="trunk")


def test_a_parallel_composite_of_one_parent_is_what_was_asked_for() -> None:
    composite = compose(parts(), strategy="parallel")
    assert (composite.strategy, composite.why) == ("parallel", "asked for")


def test_a_base_is_no_module() -> None:
    base = Part(reference="acme/pets/base", package=packages()[0])
    with pytest.raises(ComposeError, match=r"acme/pets/base 1.0.0 is a base, not a module: ask for one of its modules"):
        compose([base])


def test_one_class_is_scored_once() -> None:
    cat = parts()[0]
    other = dataclasses.replace(cat, reference="other/pets/cat")
    expected = r"acme/pets/cat 1.0.0 and other/pets/cat 1.0.0 both score the class 'cat': keep one of them"
    with pytest.raises(ComposeError, match=expected):
        compose([cat, other])


def test_different_inputs_are_told_with_both() -> None:
    cat = parts()[0]
    base, module, *_ = pack(random_decomposition(small_network(side=10), labels=("x", "y", "z")), Release())
    other = Part(reference="acme/large/x", package=module, base=base)
    expected = (
        r"acme/pets/cat 1.0.0 and acme/large/x 1.0.0 take different inputs: "
        r"image RGB NCHW \[batch, 3, 8, 8\] in 0..1 and image RGB NCHW \[batch, 3, 10, 10\] in 0..1"
    )
    with pytest.raises(ComposeError, match=expected):
        compose([cat, other])


def test_an_uncalibrated_score_cannot_stand_beside_another_parents() -> None:
    expected = r"acme/pets/cat 1.0.0 has no calibrated score, so it cannot be compared with another parent's"
    with pytest.raises(ComposeError, match=expected):
        compose([uncalibrated(parts()[0]), strangers()[0]])
    assert compose([uncalibrated(part) for part in parts()]).strategy == "trunk"


def test_a_composite_remembers_that_a_score_was_uncalibrated() -> None:
    inner = Part(reference="acme/pets/all", package=compose([uncalibrated(part) for part in parts()]).package)
    with pytest.raises(ComposeError, match=r"acme/pets/all 1.0.0 has no calibrated score"):
        compose([inner, strangers()[0]])
    calibrated = Part(reference="acme/pets/all", package=compose(parts()).package)
    assert len(compose([calibrated, strangers()[0]]).package.manifest.classes) == 4


def test_what_is_too_large_for_a_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRAPH_NODES", 20)
    with pytest.raises(ComposeError, match=r"together they have \d+ nodes and \d+ arrays, a package holds at most 20"):
        compose(parts())


def test_a_long_list_of_classes_is_cut_in_the_summary() -> None:
    named = [renamed(part, f"{part.package.name} {'x' * 200}") for part in parts()]
    summary = compose(named).package.manifest.summary
    assert len(summary) == limits.SUMMARY_LENGTH
    assert summary.endswith("...")


def test_all_licences_apply_and_are_noted() -> None:
    cat, dog, bird = parts()
    composite = compose([changed(cat, license="Apache-2.0"), dog, changed(bird, license="MIT OR BSD-2-Clause")])
    assert composite.package.manifest.license == "Apache-2.0 AND MIT AND (MIT OR BSD-2-Clause)"
    notice = composite.package.read("NOTICE").decode()
    assert "- acme/pets/cat 1.0.0: Apache-2.0\n" in notice
    assert "- acme/pets/bird 1.0.0: MIT OR BSD-2-Clause\n" in notice


def test_one_licence_stays_as_it_is() -> None:
    assert joined_licence(["MIT OR BSD-2-Clause"] * 3) == "MIT OR BSD-2-Clause"


@pytest.mark.parametrize("license", ["CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "MIT AND CC-BY-ND-3.0"])
def test_a_licence_against_derived_works_is_obeyed(license: str) -> None:
    expected = f"acme/pets/cat 1.0.0, licensed {license}, forbids derived works, and a composite is one"
    with pytest.raises(ComposeError, match=expected):
        compose([changed(parts()[0], license=license), parts()[1]])


def test_what_a_stranger_claims_to_be_made_of_is_taken_only_as_digests() -> None:
    package = compose(parts()).package
    document = json.loads(package.read("module.json"))
    document["method"]["parameters"] = {"parents": ["x", 1, None], "calibrated": "yes"}
    claimed = Package(manifest=Manifest.from_dict(document), files=package.files)
    part = Part(reference="acme/pets/all", package=claimed)
    assert part.parents == {package.digest}
    assert not part.is_calibrated


def test_a_golden_input_is_the_same_everywhere() -> None:
    port = small_network().input
    x = golden_input(port)
    assert x.shape == (4, 3, 8, 8)
    assert x.flat[:4].tolist() == golden_input(port).flat[:4].tolist()
    assert 0 <= x.min() <= x.max() < 1
