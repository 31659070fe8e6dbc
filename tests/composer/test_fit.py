"""What composing checks again in the files: each rule names both modules, the property, and both values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from modhub.composer.compose import Part, compose
from modhub.errors import ComposeError, FormatError
from modhub.package.pack import Release, pack
from modhub.spec.ports import InputPort
from tests.composer.test_compose import changed, renamed, strangers, uncalibrated
from tests.support.modules import random_decomposition
from tests.support.networks import Builder
from tests.support.samples import packages, parts, small_network

if TYPE_CHECKING:
    from collections.abc import Callable

CAT = "acme/pets/cat 1.0.0"
IMAGE = "image RGB NCHW [batch, 3, 8, 8] in 0..1"


def with_input(**changes: object) -> list[Part]:
    """Return cat, and dog of another parent that claims another input."""
    dog = strangers()[1]
    port = dataclasses.replace(dog.package.manifest.input, **changes)  # type: ignore[arg-type]
    return [parts()[0], changed(dog, input=port)]


def of_features() -> list[Part]:
    """Return cat, and a module of another modality."""
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 8)), 3))
    base, module, *_ = pack(random_decomposition(network, labels=("x", "y", "z")), Release())
    return [parts()[0], Part(reference="acme/table/x", package=module, base=base)]


def of_tokens() -> list[Part]:
    """Return cat, and a module that claims to take tokens."""
    port = InputPort(name="tokens", kind="tokens", dtype="int64", shape=("batch", 16), vocabulary=99)
    return [parts()[0], changed(strangers()[1], input=port)]


ROWS: dict[str, tuple[Callable[[], list[Part]], tuple[str, ...]]] = {
    "input: another size": (
        lambda: [
            parts()[0],
            Part(
                reference="acme/large/x",
                package=(
                    large := pack(random_decomposition(small_network(side=10), labels=("x", "y", "z")), Release())
                )[1],
                base=large[0],
            ),
        ],
        (CAT, "acme/large/x 1.0.0", "take different inputs", IMAGE, "[batch, 3, 10, 10]"),
    ),
    "modality: features": (
        of_features,
        (CAT, "acme/table/x 1.0.0", "take different inputs", IMAGE, "features [batch, 6]"),
    ),
    "modality: tokens": (of_tokens, (CAT, "acme/wild/dog 1.0.0", "take different inputs", IMAGE, "tokens [batch, 16]")),
    "preprocessing: range": (
        lambda: with_input(range=(0.0, 255.0)),
        (CAT, "acme/wild/dog 1.0.0", "take different inputs", "in 0..1", "in 0..255"),
    ),
    "preprocessing: colour": (
        lambda: with_input(color="BGR"),
        (CAT, "acme/wild/dog 1.0.0", "take different inputs", "RGB", "BGR"),
    ),
    "label space": (
        lambda: [parts()[0], renamed(strangers()[1], "cat")],
        (CAT, "acme/wild/dog 1.0.0", "both score the class 'cat'"),
    ),
    "calibration": (
        lambda: [parts()[0], uncalibrated(strangers()[1])],
        ("acme/wild/dog 1.0.0", "no calibrated score", "another parent's"),
    ),
    "score semantics: logits of a base": (
        lambda: [parts()[0], Part(reference="acme/pets/base", package=packages()[0])],
        ("acme/pets/base 1.0.0", "is a base, not a module"),
    ),
    "licence": (
        lambda: [changed(parts()[0], license="GPL-2.0-only"), changed(parts()[1], license="CC-BY-SA-4.0")],
        (CAT, "GPL-2.0-only", "acme/pets/dog 1.0.0", "CC-BY-SA-4.0", "do not go together"),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_does_not_fit_is_told_with_both_values(row: str) -> None:
    given, told = ROWS[row]
    with pytest.raises(ComposeError) as caught:
        compose(given())
    for words in told:
        assert words in str(caught.value), row


def test_a_parent_that_is_another_network_is_told() -> None:
    """A delta whose base is not the one that it was cut from."""
    foreign = dataclasses.replace(parts("delta")[0], base=packages("delta", network_seed=5)[0])
    with pytest.raises(FormatError, match=r"delta\.safetensors.*made for|delta\.safetensors.*base"):
        compose([foreign])


def test_a_composite_goes_beside_a_module_of_another_parent_and_has_several_outputs() -> None:
    inner = Part(reference="acme/pets/all", package=compose(parts()).package)
    whole = compose([inner, strangers()[1]])
    assert [label.name for label in whole.package.manifest.classes] == ["cat", "dog", "bird", "wild dog"]
    assert whole.network.output_shape == ("batch", 4)
    assert whole.strategy == "parallel"
